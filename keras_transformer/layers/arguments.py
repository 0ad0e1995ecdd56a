"""The arguments of layers and of the model: each is checked by name, and becomes a plain Python value.

Numbers of NumPy become Python's, so that a configuration can always be written as JSON.
"""

import math
import numbers
import operator

import keras

WHOLE = (
    "vocabulary_size target_vocabulary_size num_layers num_encoder_layers num_decoder_layers d_model num_heads d_ff "
    "d_k d_v max_length".split()
)
MAY_BE_NONE = "target_vocabulary_size d_k d_v max_length".split()
RATES = "dropout attention_dropout activation_dropout rate".split()
POSITIVE = "layer_norm_epsilon initial_gain".split()
SWITCHES = "use_bias scale scale_embeddings output_bias".split()


def plain(**arguments):
    """The values of these arguments, in their order, as plain Python values.

    Raises:
        ValueError: a value of another kind or range; the message names the argument, the value and the rule.
    """
    return [RULES[argument](argument, value) for argument, value in arguments.items()]


def whole(argument, value):
    """An int of at least 1, or None where that means a default."""
    if value is None and argument in MAY_BE_NONE:
        return None
    if is_switch(value) or not hasattr(value, "__index__"):
        raise ValueError(f"{argument} must be a whole number of at least 1, got {value!r}.")
    try:
        number = operator.index(value)
    except TypeError:  # arrays have the method, but only those with one whole number have an index
        raise ValueError(f"{argument} must be a whole number of at least 1, got {value!r}.") from None
    if number < 1:
        raise ValueError(f"{argument} must be at least 1, got {value}.")
    return number


def rate(argument, value):
    """A float in [0, 1)."""
    number = real(argument, value, "a number in [0, 1)")
    if not 0 <= number < 1:
        raise ValueError(f"{argument} must be in [0, 1), got {value}.")
    return number


def positive(argument, value):
    """A finite float above 0."""
    number = real(argument, value, "a finite number above 0")
    if not 0 < number < math.inf:
        raise ValueError(f"{argument} must be a finite number above 0, got {value}.")
    return number


def real(argument, value, rule):
    """A float, from a real number of Python or NumPy that is not True or False."""
    if is_switch(value) or not isinstance(value, numbers.Real):
        raise ValueError(f"{argument} must be {rule}, got {value!r}.")
    return float(value)


def switch(argument, value):
    """True or False."""
    if not is_switch(value):
        raise ValueError(f"{argument} must be True or False, got {value!r}.")
    return bool(value)


def is_switch(value):
    """Whether a value is True or False, of Python or of NumPy."""
    return isinstance(value, bool) or (type(value).__name__ == "bool" and type(value).__module__ == "numpy")


def activation(argument, value):
    """A function, from one of Keras' names, a function or its configuration."""
    try:
        return keras.activations.get(value)
    except (TypeError, ValueError):
        raise ValueError(f"{argument} must be a Keras activation, by name or as a function, got {value!r}.") from None


def choice(argument, value, choices):
    """One of some words.

    Raises:
        ValueError: another value; the message lists the words.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{argument} must be one of {choices}, got {value!r}.")
    return str(value)


RULES = {
    **dict.fromkeys(WHOLE, whole),
    **dict.fromkeys(RATES, rate),
    **dict.fromkeys(POSITIVE, positive),
    **dict.fromkeys(SWITCHES, switch),
    "activation": activation,
}
