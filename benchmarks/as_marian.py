"""Our weights in Hugging Face's MarianMTModel, which computes the same function: for comparisons on a trained model."""

import functools

import numpy as np
from marian_model import marian_model

from keras_transformer.interop.marian_format import LAYER


def as_marian(model):
    """Return a `transformers.MarianMTModel` with the weights of `model`, a `Transformer` as in the paper.

    In Marian's positions all sines come first, then all cosines. Ours alternate. So every axis of width d_model is
    reordered. Marian's attention has biases; here they are 0.
    """
    import torch

    config = model.get_config()
    needed = {"tie_embeddings": "all", "positions": "sinusoidal", "norm": "post", "output_bias": False}
    if other := {key: config[key] for key, value in needed.items() if config[key] != value}:
        raise ValueError(f"as_marian needs a model with {needed}, got one with {other}.")
    d_model, options = config["d_model"], {"activation_function": config["activation"]}
    options["scale_embedding"] = config["scale_embeddings"]
    marian = marian_model(config, config["vocabulary_size"], **options).eval()
    order = np.concatenate([np.arange(0, d_model, 2), np.arange(1, d_model, 2)])
    # The axes of Marian's tensors that mean d_model, by the end of the tensor's name. Others are heads or hidden units.
    axes = {"q_proj.weight": [1], "k_proj.weight": [1], "v_proj.weight": [1], "out_proj.weight": [0]}
    axes |= {"fc1.weight": [1], "fc2.weight": [0], "fc2.bias": [0], "norm.weight": [0], "norm.bias": [0]}

    def reordered(name, value):
        for axis in next((numbers for end, numbers in axes.items() if name.endswith(end)), []):
            value = np.take(value, order, axis)
        return torch.tensor(np.ascontiguousarray(value))

    tensors = {"model.shared.weight": torch.tensor(model.output_map.embeddings.numpy()[:, order])}
    for side, rows in LAYER.items():
        for i, layer in enumerate(getattr(model, side).layers):
            for theirs, ours, change in rows:
                name = f"model.{side}.layers.{i}.{theirs}"
                variable = functools.reduce(getattr, ours.split("."), layer)
                if variable is not None:
                    value = variable.numpy() if change is None else change(variable.numpy())
                    tensors[name] = reordered(name, value)
                else:
                    tensors[name] = torch.zeros(d_model)
    missing, unknown = marian.load_state_dict(tensors, strict=False)
    expected = {"final_logits_bias", "lm_head.weight"} | {f"model.{side}.embed_tokens.weight" for side in LAYER}
    expected |= {f"model.{side}.embed_positions.weight" for side in LAYER}
    if unknown or set(missing) - expected:
        raise RuntimeError(f"tensors that only one of the two models has: {unknown}, {missing}.")
    for module in marian.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config["layer_norm_epsilon"]
    return marian
