"""A `Transformer` as a backbone of keras-hub."""

import keras
import keras_hub
from keras import ops

from keras_transformer.backend.int8 import recast
from keras_transformer.ids import PAD
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.inputs.kinds import shown
from keras_transformer.layers.masks import padding_mask
from keras_transformer.model import Transformer, embed_target


@keras.saving.register_keras_serializable(package="keras_transformer")
class TransformerBackbone(keras_hub.models.Backbone):
    """A `Transformer` with the inputs and outputs of keras-hub's backbones.

    The inputs are "encoder_token_ids" and "encoder_padding_mask" (B, S), "decoder_token_ids" and
    "decoder_padding_mask" (B, T). Ids are int32. Masks are True, or 1, at tokens. The outputs are the vectors
    "encoder_sequence_output" (B, S, D) and "decoder_sequence_output" (B, T, D). The layers and weights are those of the
    model itself: who trains one trains the other.

    `enable_lora(rank)` trains low-rank additions to the query and value projections, as in other backbones.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Transformer
        from keras_transformer.interop.keras_hub import TransformerBackbone

        backbone = TransformerBackbone(Transformer.from_preset("quickstart", vocabulary_size=23))
        source, target = np.array([[5, 7, 3]]), np.array([[2, 8]])
        inputs = {"encoder_token_ids": source, "encoder_padding_mask": source != 0}
        outputs = backbone({**inputs, "decoder_token_ids": target, "decoder_padding_mask": target != 0})
        assert outputs["decoder_sequence_output"].shape == (1, 2, 128)
        ```

    Args:
        transformer: a `Transformer`.
        dtype: a Keras dtype policy in place of the model's. The model is then made anew, with copies of the weights.
        name, trainable: as of every Keras model. `trainable=None` leaves the model as it is.

    Attributes:
        transformer: the `Transformer`.

    Raises:
        TypeError: `transformer` is no `Transformer`.
        ValueError: it is in 8-bit integers, or has a method of its own that cached decoding cannot follow.
    """

    def __init__(self, transformer, dtype=None, name="transformer_backbone", trainable=None):
        transformer = _checked(transformer, dtype)
        inputs = {
            "encoder_token_ids": keras.Input((None,), dtype="int32", name="encoder_token_ids"),
            "encoder_padding_mask": keras.Input((None,), dtype="int32", name="encoder_padding_mask"),
            "decoder_token_ids": keras.Input((None,), dtype="int32", name="decoder_token_ids"),
            "decoder_padding_mask": keras.Input((None,), dtype="int32", name="decoder_padding_mask"),
        }
        source, target = (masked(inputs[f"{side}_token_ids"], inputs[f"{side}_padding_mask"]) for side in SIDES)
        memory = transformer.encode(source)
        x = transformer.decoder(embed_target(transformer, target), memory, memory_mask=padding_mask(source))
        outputs = {"encoder_sequence_output": memory, "decoder_sequence_output": x}
        super().__init__(inputs=inputs, outputs=outputs, dtype=transformer.dtype_policy, name=name)
        self.transformer = transformer
        self.token_embedding = transformer.source_embedding
        if trainable is not None:
            self.trainable = trainable

    def get_config(self):
        """The constructor's arguments. The dtype stands beside the model, so that `from_preset` can change it."""
        transformer = keras.saving.serialize_keras_object(self.transformer)
        transformer["config"] = {name: value for name, value in transformer["config"].items() if name != "dtype"}
        dtype = keras.dtype_policies.serialize(self.transformer.dtype_policy)
        return {"transformer": transformer, "dtype": dtype, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config):
        """A new backbone. Without a dtype in the config, it has the current dtype policy."""
        transformer, dtype = config["transformer"], config.get("dtype")
        dtype = {} if dtype is None else {"dtype": dtype}
        transformer = {**transformer, "config": {**transformer["config"], **dtype}}
        transformer = keras.saving.deserialize_keras_object(transformer)
        return cls(transformer, name=config["name"], trainable=None if config["trainable"] else False)


SIDES = ("encoder", "decoder")


def masked(ids, mask):
    """Ids (B, L) with padding where the mask has none: int32."""
    return ops.where(ops.cast(mask, "bool"), ops.cast(ids, "int32"), PAD)


def _checked(transformer, dtype):
    """The `Transformer` that a backbone is made of."""
    if not isinstance(transformer, Transformer):
        hint = " Give translator.model." if hasattr(transformer, "n_best") else ""
        raise TypeError(f"transformer must be a Transformer, got {shown(transformer)}.{hint}")
    if transformer.quantized:
        raise ValueError("the model is in 8-bit integers. Give the model that it was made from.")
    IncrementalDecoder(transformer)  # refuses methods that it cannot follow
    if dtype is None or keras.dtype_policies.get(dtype) == transformer.dtype_policy:
        return transformer
    return recast(transformer, dtype)
