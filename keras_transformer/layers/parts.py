"""What users change in the parts of a layer: frozen parts and LoRA, which a file holds, and methods of their own."""

import keras

from keras_transformer.backend import compat


@keras.saving.register_keras_serializable(package="keras_transformer")
class LayerOfParts(keras.layers.Layer):
    """Base class of the layers that are made of other layers.

    Parts and variables whose `trainable` was set, and parts with `enable_lora`, are saved and come back on loading.
    """

    def get_build_config(self):
        config, changes = super().get_build_config(), changes_of_parts(self)
        return {**config, "changed_parts": changes} if config and changes else config

    def build_from_config(self, config):
        super().build_from_config(config)
        change_parts(self, (config or {}).get("changed_parts", {}))


def changes_of_parts(layer):
    """What differs from a new layer, by the path of each part or variable.

    Args:
        layer: any Keras layer that is built, also a model.

    Returns:
        {path: change}. A change is {"lora": [rank, alpha]}, or {"trainable": True or False} where that is not as in the
        layer around it, or both.
    """
    changes = {}
    for path, part, around in _parts(layer):
        change = {}
        if getattr(part, "lora_enabled", False):
            change["lora"] = [part.lora_rank, part.lora_alpha]
        if part.trainable != around.trainable:
            change["trainable"] = part.trainable
        if change:
            changes[path] = change
    return changes


def change_parts(layer, changes):
    """Set on the parts of a layer what `changes_of_parts` found."""
    left = dict(changes)
    for path, part, _ in _parts(layer):
        change = left.pop(path, {})
        if "lora" in change:
            rank, alpha = change["lora"]
            part.enable_lora(rank, alpha)
            part.trainable = part.trainable  # else LoRA's kernel stays frozen if that was changed afterwards
        if "trainable" in change:
            part.trainable = change["trainable"]
    if left:
        raise ValueError(f"{layer.name} has no part {next(iter(left))!r}, which the file says was changed.")


def is_own(owner, method):
    """Whether a class outside of this package and of Keras, or the object itself, defines a method."""
    if method in vars(owner):
        return True
    kind = next(kind for kind in type(owner).__mro__ if method in vars(kind))
    return kind.__module__.partition(".")[0] not in ("keras_transformer", "keras")


def _parts(layer, path=""):
    """(path, part or variable, the layer around it) from the outside to the inside.

    A part is visited before its own parts are looked for, so that a visitor may add to it.
    """
    for variable in compat.own_variables(layer):
        yield f"{path}{variable.name}", variable, layer
    for part in compat.own_layers(layer):
        yield f"{path}{part.name}", part, layer
        yield from _parts(part, f"{path}{part.name}/")
