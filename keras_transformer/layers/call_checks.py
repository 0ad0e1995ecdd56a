"""Refuse wrong inputs of a layer's call, in one line. What is not known before a graph runs is not checked."""

import functools
import inspect

import keras

from keras_transformer.backend.compat import in_one_line
from keras_transformer.backend.values import first_unknown_id, kind_of_numbers, known, shape_of
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.options import check_options
from keras_transformer.layers.parts import is_own

MISSING = object()
OF_KERAS = tuple(inspect.signature(keras.layers.Layer.__init__).parameters)[1:-1]  # without self and kwargs


class ChecksInputs:
    """Base class of the public layers. It checks the inputs before Keras builds and calls the layer.

    A subclass with a `call` of its own takes what it likes.
    """

    input_shapes = {}  # of the call's first arguments, in words and in their order: {"x": "(B, T, D)"}
    may_be_left_out = ()
    input_widths = None  # the last axis of each input, since `build`

    def __init__(self, **kwargs):
        """Pass Keras' own options on, and refuse others.

        Raises:
            TypeError: a name that is neither an option of the layer nor of Keras' layers.
        """
        if unknown := [name for name in kwargs if name not in (*OF_KERAS, "input_shape", "input_dim")]:
            check_options(unknown, options_of(type(self)), self._kind)
        super().__init__(**kwargs)

    def __call__(self, *args, **kwargs):
        if not is_own(self, "call"):
            self.check_call(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def check_call(self, *args, **kwargs):
        """Refuse inputs that are no arrays of vectors, that differ from those of `build`, or that do not fit together.

        Raises:
            TypeError: an input is missing, or is no array; or the call has no argument of this name.
            ValueError: an array of another rank, dtype or width, or with another number of rows.
        """
        named = [name for name in kwargs if name != "training"]  # Keras drops it where a call does not have it
        check_options(named, arguments_of_call(type(self)), f"a call of {self._kind}")
        rows = None
        for number, (name, words) in enumerate(self.input_shapes.items()):
            x = args[number] if number < len(args) else kwargs.get(name, MISSING)
            if name in self.may_be_left_out and (x is None or x is MISSING):
                continue
            if x is MISSING:
                raise in_one_line(TypeError(f"{name} of {self._kind} is missing. Give an array of floats {words}."))
            width = None if self.input_widths is None else self.input_widths[number]
            check_vectors(name, x, words, width, self.name)
            shape = shape_of(x)
            if rows is not None and shape is not None:
                check_rows(name, shape, *rows)
            rows = rows or (None if shape is None else (name, shape[0]))

    @property
    def _kind(self):
        return type(self).__name__


@functools.cache
def arguments_of_call(kind):
    """The names of the arguments of a call of a layer of this class."""
    return list(inspect.signature(kind.call).parameters)[1:]


def options_of(kind):
    """The names of the options of a layer's class, its own before those of Keras."""
    own = [
        vars(each)["__init__"] for each in kind.__mro__ if issubclass(each, ChecksInputs) and "__init__" in vars(each)
    ]
    parameters = [each for function in own for each in list(inspect.signature(function).parameters.values())[1:]]
    names = [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    return list(dict.fromkeys([*names, *OF_KERAS]))


def check_vectors(name, x, words, width=None, layer=None):
    """Refuse what is no array of vectors.

    Args:
        name: of the argument.
        x: its value.
        words: its shape in words, "(B, T, D)". "..." stands for any number of axes.
        width: D if it is known, else None.
        layer: the name of the layer that was built for this `width`.
    """
    check_array(name, x, f"floats {words}")
    dtype, kind = kind_of_numbers(x)
    shape = shape_of(x)
    if kind != "float":
        remedy = "TokenEmbedding makes vectors of ids" if kind == "int" else "Cast it first"
        raise in_one_line(ValueError(f"{name} must hold floats {words}, got {dtype} of shape {shape}. {remedy}."))
    if shape is None:
        return
    axes = words.count(",") + 1 - words.count("...")
    fits = len(shape) >= axes if "..." in words else len(shape) == axes
    if not fits:
        remedy = f"One sentence is {name}[None]" if len(shape) == axes - 1 and axes == 3 else "Reshape it first"
        raise in_one_line(ValueError(f"{name} must have the shape {words}, got {shape}. {remedy}."))
    if width is None and not isinstance(shape[-1], int):
        raise in_one_line(ValueError(f"{name} must have the shape {words} with a known D, got {shape}."))
    if width is not None and isinstance(shape[-1], int) and shape[-1] != width:
        raise in_one_line(
            ValueError(f"{name} must have the shape {words} with D={width}, for which {layer} was made, got {shape}.")
        )


def check_array(name, x, rule):
    """Refuse what is no array or tensor, with the `rule` for its values and shape."""
    if (kind := type(x).__name__) in ("RaggedTensor", "SparseTensor"):
        raise in_one_line(TypeError(f"{name} must be an array of {rule}, got a {kind}. Fill its gaps with 0 first."))
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return
    remedy = f" Give np.array({name})." if isinstance(x, list | tuple) else ""
    raise in_one_line(TypeError(f"{name} must be an array of {rule}, got {shown(x)}.{remedy}"))


def check_rows(name, shape, other, rows):
    """Refuse two inputs of different numbers of rows, as far as they are known. One row goes with any number.

    Args:
        name, shape: of an input.
        other, rows: the name of another one, and its number of rows.
    """
    sizes = {shape[0], rows}
    if all(isinstance(size, int) for size in sizes) and len(sizes) == 2 and 1 not in sizes:
        raise in_one_line(ValueError(f"{name} must have the rows of {other}, {rows}, or one row, got shape {shape}."))


def check_ids(name, ids, size, argument, owner):
    """Refuse what is no array of ids.

    Args:
        name: of the argument.
        ids: its value.
        size: V.
        argument: the argument of the constructor that is V.
        owner: what knows V, in words.
    """
    check_array(name, ids, "ids (B, T)")
    dtype, kind = kind_of_numbers(ids)
    if kind == "other":
        got = f"got an array of {dtype}. A Tokenizer makes ids of text."
        raise in_one_line(ValueError(f"{name} must hold ids, whole numbers, {got}"))
    values = known(ids)
    found = None if values is None else first_unknown_id(values, size)
    if found is not None:
        raise in_one_line(
            ValueError(
                f"{name} must hold ids from 0 to {size - 1}, whole numbers, because {owner} has {argument}={size}, "
                f"got {found[0]} at {found[1]}."
            )
        )
