"""The arguments of layers and of the model: each is checked by name, and becomes a plain Python value.

Numbers of NumPy become Python's, so that a configuration can always be written as JSON.
"""

import keras

from keras_transformer.inputs.numbers import positive, rate, switch, whole

WHOLE = (
    "vocabulary_size target_vocabulary_size num_layers num_encoder_layers num_decoder_layers d_model num_heads d_ff "
    "decoder_d_ff d_k d_v max_length".split()
)
MAY_BE_NONE = "target_vocabulary_size decoder_d_ff d_k d_v max_length window".split()
RATES = "dropout attention_dropout activation_dropout rate".split()
POSITIVE = "layer_norm_epsilon initial_gain".split()
SWITCHES = "use_bias causal scale mask_zero scale_embeddings output_bias".split()


def plain(**arguments):
    """The values of these arguments, in their order, as plain Python values.

    Raises:
        ValueError: a value of another kind or range; the message names the argument, the value and the rule.
    """
    return [RULES[argument](argument, value) for argument, value in arguments.items()]


def size(argument, value):
    """An int of at least 1, or None where that means a default."""
    return None if value is None and argument in MAY_BE_NONE else whole(argument, value)


def window(argument, value):
    """An odd int of at least 1, or None."""
    value = size(argument, value)
    if value is not None and value % 2 == 0:
        raise ValueError(
            f"{argument} must be odd, a position and as many on each side of it, got {value}. "
            f"Choose {value - 1} or {value + 1}."
        )
    return value


def activation(argument, value):
    """A function, from one of Keras' names, a function or its configuration."""
    try:
        found = keras.activations.get(value)
    except (TypeError, ValueError):
        raise ValueError(f"{argument} must be a Keras activation, by name or as a function, got {value!r}.") from None
    if getattr(found, "__name__", None) == "<lambda>":
        raise ValueError(
            f"{argument} is a lambda, which no file can hold: a saved model could not be loaded. Write a function, and "
            "put @keras.saving.register_keras_serializable() above it."
        )
    return found


def choice(argument, value, choices):
    """One of some words.

    Raises:
        ValueError: another value; the message lists the words.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{argument} must be one of {choices}, got {value!r}.")
    return str(value)


RULES = {
    **dict.fromkeys(WHOLE, size),
    **dict.fromkeys(RATES, rate),
    **dict.fromkeys(POSITIVE, positive),
    **dict.fromkeys(SWITCHES, switch),
    "window": window,
    "activation": activation,
}
