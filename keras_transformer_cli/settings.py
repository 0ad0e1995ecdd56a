"""The settings of a training: options, the recipe, and those of the run that is resumed."""

import math
import platform
from pathlib import Path

from keras_transformer_cli.config import read_yaml, write_yaml

CONFIG = "config.yaml"
DATA_FOLDER = "data"  # in the folder of the run: the tokenizer, and the validation pairs that were split off
# Options that may change when a run goes on. All others are part of what is trained.
CHANGEABLE = ("output", "epochs", "steps", "patience", "samples", "bleu_every", "tensorboard", "every_steps")
LONGEST_WARMUP = 10  # the warm-up of a run that is shorter than its recipe takes at most one of so many updates


def settings_of(given, explicit, earlier, pairs):
    """All settings of a run.

    Args:
        given: {name: value} of all options.
        explicit: the names of the options that the user gave, on the command line or in a file.
        earlier: `earlier_settings` of the folder.
        pairs: a function that counts the sentence pairs of the corpus.

    Returns:
        {name: value}. Without an earlier run, `warmup_steps` is None where it is not given.

    Raises:
        ValueError: the folder holds a run with other options, or the recipe is unknown. The message names them.
    """
    given = {
        **given,
        "precision": precision(given["precision"]),
        "deterministic": given["deterministic"] if given["deterministic"] is not None else not has_accelerator(),
    }
    if earlier is None:
        return with_recipe(given, pairs)
    differing = [
        f"{name} was {earlier.get(name)!r} and is {given[name]!r}"
        for name in explicit
        if name not in CHANGEABLE and earlier.get(name) != given[name]
    ]
    if "patience" in explicit and earlier.get("patience") is None and given["patience"] is not None:
        raise ValueError(
            f"patience={given['patience']} cannot be added: the run in {given['output']} began without it, and has not "
            "counted. Choose another --output, or leave --patience out."
        )
    if differing:
        raise ValueError(
            f"{given['output']} holds a run with other options: {', '.join(differing)}. Choose another --output."
        )
    return with_one_length(
        given, {**given, **earlier, **{name: given[name] for name in explicit if name in CHANGEABLE}}
    )


def earlier_settings(output):
    """The settings of the run in a folder, or None if it holds none.

    Raises:
        FileExistsError: it holds other files.
    """
    path = output / CONFIG
    if path.exists():
        return {key: value for key, (value, _) in read_yaml(path).items()}
    if output.is_dir() and any(entry.name != DATA_FOLDER for entry in output.iterdir()):
        raise FileExistsError(f"{output} is not empty, and holds no {CONFIG} of a run. Choose another --output.")
    return None


def own_tokenizer(output):
    """The folder with the tokenizer of the run in `output`, as a str; None if no run has begun there."""
    from keras_transformer.inputs.tokenizers import TOKENIZER_FILES

    folder = output / DATA_FOLDER
    has_begun = (output / CONFIG).exists() and any((folder / name).exists() for name in TOKENIZER_FILES)
    return str(folder) if has_begun else None


def with_recipe(given, pairs):
    """The settings with the recipe's values where none were given."""
    from keras_transformer.recipes import read_recipe, recommended

    recipe = read_recipe(given["recipe"]) if given["recipe"] else recommended(pairs())
    values = {name: value for name, value in recipe.settings.items() if given[name] in (None, [])}
    if given["tokenizer"]:
        values.pop("vocabulary_size", None)
    values["warmup_steps"] = given["warmup_steps"]  # it also depends on the length of the run, see `warmup_steps`
    return with_one_length(given, {**given, **values, "recipe": recipe.name})


def with_one_length(given, settings):
    """The settings with either epochs or steps: the one that is given, whatever the recipe or the earlier run has.

    Raises:
        ValueError: both are given.
    """
    if given["epochs"] is not None and given["steps"] is not None:
        raise ValueError(f"epochs={given['epochs']} and steps={given['steps']} are both given. Drop one.")
    other = {"epochs": "steps", "steps": "epochs"}
    return settings | {other[name]: None for name in other if given[name] is not None}


def epochs(settings, batches):
    """The epochs of a run over a corpus of some batches."""
    return settings["epochs"] or math.ceil(settings["steps"] / batches)


def warmup_steps(recipe, updates):
    """The warm-up of a recipe for a run of some updates."""
    from keras_transformer.recipes import read_recipe

    recipe = read_recipe(recipe)
    if recipe.steps and updates >= recipe.steps:  # the whole recipe
        return recipe.warmup_steps
    return max(1, min(recipe.warmup_steps, updates // LONGEST_WARMUP))


def precision(name):
    """The policy that a name means on this machine: "auto" is mixed_bfloat16 where products in bfloat16 are fast."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if has_fast_bfloat16() else "float32"


def has_accelerator():
    """Whether Keras trains on something else than a processor."""
    import keras

    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())


def has_fast_bfloat16():
    """Whether the first GPU, or else the processor, multiplies in bfloat16."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU")[:1]:
            return tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= (8, 0)
    elif has_accelerator():
        return True
    if platform.machine() in ("x86_64", "AMD64") and Path("/proc/cpuinfo").exists():
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def save(output, settings, task):
    """Write the settings of the run that are options of its command. With them it can be repeated."""
    from keras_transformer.training.card import installed_version

    versions = ", ".join(f"{name} {installed_version(name)}" for name in ("keras", "tensorflow"))
    comment = [
        f"The options of this run ({versions}). To repeat it, with the same weights on the same kind of machine:",
        f"keras-transformer {task.command} --config {output / CONFIG} --output ANOTHER_FOLDER",
    ]
    names = settings if task.options is None else task.options
    write_yaml(output / CONFIG, {name: settings[name] for name in names}, comment)
