"""The weights file of a Hugging Face folder as NumPy arrays."""

import numpy as np

from keras_transformer.inputs.paths import check_source

SAFETENSORS = "model.safetensors"
PYTORCH = "pytorch_model.bin"


def weights_file(folder):
    """The path of the weights file in a folder.

    Raises:
        FileNotFoundError: the folder has neither of the two files.
    """
    for name in (SAFETENSORS, PYTORCH):
        if (folder / name).is_file():
            return check_source(folder / name)
    raise FileNotFoundError(f"{folder} holds neither {SAFETENSORS} nor {PYTORCH}.")


def read_tensors(path):
    """All tensors of a file by name, as float32 arrays.

    Raises:
        ImportError: the package that reads this file is not installed.
        ValueError: the file is damaged, or a tensor has an infinity or NaN. The message names the tensor.
    """
    tensors = _read_safetensors(path) if path.name == SAFETENSORS else _read_pytorch(path)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite.")
    return tensors


def _read_safetensors(path):
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(f"{path} needs safetensors: pip install 'keras-transformer-translation[interop]'.") from error
    try:
        return {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from error


def _read_pytorch(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path} needs torch: pip install torch, or convert it to {SAFETENSORS}.") from error
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make torch, pickle or zipfile raise anything
        raise ValueError(f"{path} cannot be read as PyTorch weights: {error}") from error
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
