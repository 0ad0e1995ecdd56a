"""Our weights as Hugging Face's MarianMTModel, which computes the same: for a comparison on a trained model."""

import functools

import numpy as np
from marian_model import marian_model

from keras_transformer.interop.marian import LAYER


def as_marian(model):
    """A `transformers.MarianMTModel` with the weights of `model`, a `Transformer` of the paper's kind.

    Marian's positions are all sines, then all cosines, ours alternate: every axis of d_model is put in that order. Its
    attention has biases, which are 0 here.
    """
    import torch

    config = model.get_config()
    needed = {"tie_embeddings": "all", "positions": "sinusoidal", "norm": "post", "output_bias": False}
    if other := {key: config[key] for key, value in needed.items() if config[key] != value}:
        raise ValueError(f"a MarianMTModel of this kind needs {needed}, the model has {other}.")
    d_model, options = config["d_model"], {"activation_function": config["activation"]}
    options["scale_embedding"] = config["scale_embeddings"]
    marian = marian_model(config, config["vocabulary_size"], **options).eval()
    order = np.concatenate([np.arange(0, d_model, 2), np.arange(1, d_model, 2)])
    # Which axes of a tensor as Marian has it are d_model, not heads, hidden units or pieces.
    axes = {"q_proj.weight": [1], "k_proj.weight": [1], "v_proj.weight": [1], "out_proj.weight": [0]}
    axes |= {"fc1.weight": [1], "fc2.weight": [0], "fc2.bias": [0], "norm.weight": [0], "norm.bias": [0]}

    def sorted_axes(name, value):
        for axis in next((found for end, found in axes.items() if name.endswith(end)), []):
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
                    tensors[name] = sorted_axes(name, value)
                else:
                    tensors[name] = torch.zeros(d_model)
    missing, foreign = marian.load_state_dict(tensors, strict=False)
    own = {"final_logits_bias", "lm_head.weight"} | {f"model.{s}.embed_tokens.weight" for s in LAYER}
    if foreign or set(missing) - own - {f"model.{s}.embed_positions.weight" for s in LAYER}:
        raise RuntimeError(f"tensors without a counterpart: {foreign}, {missing}.")
    for module in marian.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config["layer_norm_epsilon"]
    return marian
