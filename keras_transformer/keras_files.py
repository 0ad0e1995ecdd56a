"""Read `.keras` files, and say in one line what is wrong with a file that is none."""

import zipfile

import keras

from keras_transformer.backend.int8 import IntegersNotExact
from keras_transformer.inputs.paths import check_source

MEMBERS = ("config.json", "model.weights.h5")  # of the zip file that a `.keras` file is
# What the first bytes of other files tell.
FOREIGN = {
    b"\x89HDF": "an HDF5 file of weights or of an old Keras. Load it with Keras, and save the model as .keras",
    b"version https://git-lfs": "a pointer of Git LFS, and not the file itself. Run git lfs pull",
}
LONGEST_REASON = 300  # characters of another library's error


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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a Keras model: {reason[:LONGEST_REASON]}") from error


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
