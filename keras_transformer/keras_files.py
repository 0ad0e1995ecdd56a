"""Read `.keras` files and files of weights, and say in one line what is wrong with a file that is none."""

import contextlib
import zipfile
from pathlib import Path

import keras

from keras_transformer.backend.int8 import IntegersNotExact
from keras_transformer.backend.saved_weights import MEMBER, weights_in, weights_to_save
from keras_transformer.inputs.paths import check_source

MEMBERS = ("config.json", MEMBER)  # of the zip file that a `.keras` file is
# What the first bytes of other files tell.
HDF5 = b"\x89HDF"
FOREIGN = {
    HDF5: "an HDF5 file of weights or of an old Keras. Load it with Keras, and save the model as .keras",
    b"version https://git-lfs": "a pointer of Git LFS, and not the file itself. Run git lfs pull",
}
LONGEST_REASON = 300  # characters of another library's error
OPTIMIZER = "optimizer/"  # places of its state in a file of weights, which a model may have or not


def read_keras(path, argument="path"):
    """Read the model of a `.keras` file, of any class, without its optimizer, which would need twice its memory.

    Raises:
        ValueError: the file is empty, damaged or no `.keras` file; the message names it and says what it is.
        OSError: there is no file, or it cannot be read.
        IntegersNotExact: this machine cannot run the model's 8-bit integers; see `Transformer.quantize`.
    """
    path = check_source(path, argument=argument)
    if problem := _problem_of(path):
        raise ValueError(f"{path} cannot be read as a Keras model: {problem}.")
    try:
        return keras.saving.load_model(path, compile=False)
    except IntegersNotExact:  # the machine's fault, not the file's
        raise
    except Exception as error:  # Keras, zipfile and h5py raise many types for a broken file
        raise ValueError(f"{path} cannot be read as a Keras model: {_reason(error)}") from error


def _problem_of(path):
    """What is wrong with a file that is not the zip file of a Keras model, or None."""
    if path.suffix != ".keras":
        return "its name does not end in .keras"
    with open(path, "rb") as stream:
        start = stream.read(32)
    if not start:
        return "it is empty"
    for first, meaning in FOREIGN.items():
        if start.startswith(first):
            return f"it is {meaning}"
    try:
        with zipfile.ZipFile(path) as file:
            missing = [name for name in MEMBERS if name not in file.namelist()]
    except zipfile.BadZipFile:
        if start.startswith(b"PK"):
            return f"it is damaged or cut off after {path.stat().st_size:,} bytes. Copy it again, or take another file"
        return f"it is another kind of file, which begins with {start[:8]!r}"
    return f"it is a zip file without {missing[0]}" if missing else None


@contextlib.contextmanager
def loading_weights(model, path, compare=True):
    """A block in which Keras loads weights into a model. If it fails, the model has the weights of before.

    Args:
        model: a Keras model.
        path: the argument `filepath` of `load_weights`.
        compare: whether the file must have exactly the weights of the model. They are compared before the block.

    Raises:
        TypeError, ValueError: `path` is no file of weights, or has other weights. The message names the first one that
            differs.
        OSError: there is no file, or it cannot be read.
    """
    is_remote = "://" in str(path)
    if not is_remote:
        _check_weights_file(check_source(path, kind=None, argument="filepath"))
    if compare and not is_remote and str(path).endswith((".weights.h5", ".weights.json", ".keras")):
        difference = _difference(weights_to_save(model), _weights_in(path))
        if difference is not None:
            raise ValueError(
                f"filepath={str(path)!r} has other weights than the model: {difference}. Make the model with the "
                "arguments of the one that was saved. keras.saving.load_model reads whole .keras files, and "
                "Translator.load training folders."
            )
    variables = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ())]
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    try:
        yield
    except BaseException as error:  # KeyboardInterrupt, too
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"filepath={str(path)!r} cannot be loaded: {_reason(error)}") from error


def _check_weights_file(path):
    """Refuse a path that `load_weights` cannot read.

    Raises:
        ValueError: a folder, a file with another suffix, or one that is empty, damaged or of another kind.
    """
    named = f"filepath={str(path)!r}"
    if path.is_dir():
        if (path / "model.keras").is_file():
            raise ValueError(f"{named} is a training folder. Load it with Translator.load, or give its model.keras.")
        if path.suffix:
            raise IsADirectoryError(f"{named} is a folder. Give a file.")
        return  # perhaps of Orbax; Keras says if not
    if path.suffix == ".keras":
        if problem := _problem_of(path):
            raise ValueError(f"{named} cannot be read as a Keras model: {problem}.")
    elif path.suffix in (".h5", ".hdf5"):
        if problem := _problem_of_hdf5(path):
            raise ValueError(f"{named} cannot be read as weights: {problem}.")
    elif not path.name.endswith(".weights.json"):
        raise ValueError(
            f"{named} must end in .weights.h5, as model.save_weights writes it, or in .keras, as model.save does."
        )


def _problem_of_hdf5(path):
    """What is wrong with a file that is not of HDF5, or None."""
    with open(path, "rb") as stream:
        start = stream.read(32)
    if start.startswith(HDF5):
        return None
    if not start:
        return "it is empty"
    for first, meaning in FOREIGN.items():
        if start.startswith(first):
            return f"it is {meaning}"
    return f"it is another kind of file, which begins with {start[:8]!r}"


def _weights_in(path):
    try:
        return weights_in(path)
    except Exception as error:  # zipfile and h5py raise many types for a broken file
        size = Path(path).stat().st_size
        raise ValueError(
            f"filepath={str(path)!r} is damaged or cut off after {size:,} bytes. Copy it again, or take another file."
        ) from error


def _difference(model, file):
    """The first weight that a file and a model do not share, in words; None if all weights are the same.

    Args:
        model: `weights_to_save`.
        file: `weights_in`.
    """
    for place, (name, shape) in model.items():
        if place.startswith(OPTIMIZER):
            continue
        if place not in file:
            return f"it has no {name}, here of shape {shape}"
        if file[place] != shape:
            return f"{name} has shape {file[place]} there, and {shape} here"
    others = sorted(place for place in file if place not in model and not place.startswith(OPTIMIZER))
    return f"it also has {others[0].replace('/vars/', '/')}, of shape {file[others[0]]}" if others else None


def _reason(error):
    """The message of another library's error, in one line and not too long."""
    return (" ".join(str(error).split()) or type(error).__name__)[:LONGEST_REASON]
