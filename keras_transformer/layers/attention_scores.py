"""Attention weights on request: `call_with_weights` of the layers, and `return_attention_scores=True` in their calls.

While a `record` is open, each attention notes its weights there. So weights pass through every `call` that a subclass
has overridden, and no `call` has to hand them on.
"""

import contextlib
import contextvars
import inspect

import keras

from keras_transformer.backend.compat import in_one_line
from keras_transformer.layers.masks import check_boolean

_OPEN = contextvars.ContextVar("open_records", default=())


class Record:
    """The attention weights that calls inside a block have computed."""

    def __init__(self):
        self._weights = {}

    def of(self, attention):
        """The weights of the last call of an attention layer: (B, H, T, S) float32.

        Raises:
            ValueError: it has noted none.
        """
        if id(attention) not in self._weights:
            raise in_one_line(
                ValueError(
                    f"{attention.path} ({type(attention).__name__}) gives no attention weights. Its call must call "
                    "that of MultiHeadAttention, or keras_transformer.layers.attention_scores.note(self, weights)."
                )
            )
        return self._weights[id(attention)]


@contextlib.contextmanager
def record():
    """A block whose `Record` gets the attention weights."""
    opened = Record()
    token = _OPEN.set((*_OPEN.get(), opened))
    try:
        yield opened
    finally:
        _OPEN.reset(token)


def is_recording():
    """Whether a record is open, so that somebody asks for weights."""
    return bool(_OPEN.get())


def note(attention, weights):
    """Tell the open records the weights (B, H, T, S) of an attention layer."""
    for opened in _OPEN.get():
        opened._weights[id(attention)] = weights


class GivesWeights:
    """Base class of the layers with attention. A subclass has `weights_in(found)`, where `found` is a `Record`."""

    def call_with_weights(self, *args, **kwargs):
        """What a call with these arguments gives, and the attention weights.

        It is a call with `return_attention_scores=True`, also in a functional model. If a subclass has a `call` of its
        own without this argument, the weights of the attention inside are found too, but only outside of functional
        models.
        """
        if "return_attention_scores" in inspect.signature(self.call).parameters:
            return self(*args, **kwargs, return_attention_scores=True)
        if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten((args, kwargs))):
            raise ValueError(
                f"the call of {type(self).__name__} must take return_attention_scores=False, and hand it on to "
                "super().call, before a functional model can have its attention weights."
            )
        with record() as found:
            output = self(*args, **kwargs)
        return (output, *self.weights_in(found))

    def compute_output_spec(self, *args, return_attention_scores=False, **kwargs):
        for argument, value in inspect.signature(self.call).bind(*args, **kwargs).arguments.items():
            if argument.endswith("mask") and value is not None:
                check_boolean(value, argument)
        if not return_attention_scores:
            return super().compute_output_spec(*args, **kwargs)
        return keras.Operation.compute_output_spec(self, *args, **kwargs, return_attention_scores=True)
