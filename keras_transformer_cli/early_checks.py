"""Refuse the settings of a training that would end it later, before the first file is written."""

OWN_OPTIONS = ("vocabulary_size", "target_vocabulary_size")  # which also say how the tokenizer is made
SMALLEST_VOCABULARY = 5  # any number of pieces, where the tokenizer is not known yet


def check_settings(settings, explicit):
    """Refuse what the tokenizer, the model, the loss, Adam, the search or BLEU would refuse later.

    Args:
        settings: {name: value}, of the run.
        explicit: the names of the options that the user gave.

    Raises:
        ValueError, TypeError: the message names the option, the value and the rule.
    """
    from keras_transformer.evaluate.metrics import bleu_metric
    from keras_transformer.inputs.numbers import positive, rate
    from keras_transformer.schedules import named_schedule
    from keras_transformer.translation.options import SearchOptions
    from keras_transformer_cli.tasks import SEARCH

    check_segmentations(settings, check_tokenizer_options(settings, explicit))
    check_model(settings)
    for name in ("label_smoothing", "beta_2"):
        rate(name, settings[name])
    for name in ("epsilon", "clip_norm"):
        if settings[name] is not None:
            positive(name, settings[name])
    SearchOptions(**{name: settings[name] for name in SEARCH})
    warmup_steps = settings["warmup_steps"] or 1
    named_schedule(settings["schedule"], settings["peak"], 1, warmup_steps, settings["epochs"] or settings["steps"])
    bleu_metric(settings["bleu_tokenize"], "bleu_tokenize")
    check_monitor(settings)


def check_tokenizer_options(settings, explicit):
    """Read the tokenizer that is given, and refuse another number of pieces than it has.

    Returns:
        The tokenizer; None if none is given.

    Raises:
        ValueError: there are other numbers, or the file is no tokenizer.
    """
    from pathlib import Path

    from keras_transformer.inputs.tokenizers import SIZE_ARGUMENTS, vocabulary_sizes
    from keras_transformer_cli.models import load_tokenizer

    if not settings["tokenizer"]:
        return None
    tokenizer = load_tokenizer(Path(settings["tokenizer"]))
    sizes = vocabulary_sizes(tokenizer)
    for side, name in SIZE_ARGUMENTS.items():
        if name in explicit and settings[name] not in (None, sizes[side]):
            raise ValueError(
                f"{name}={settings[name]} cannot be: the tokenizer {settings['tokenizer']} has {sizes[side]} pieces of "
                f"the {side}. Leave the option out."
            )
    return tokenizer


def check_segmentations(settings, tokenizer=None):
    """Refuse an exponent or a rate that the kind of the subwords does not allow.

    Args:
        settings: of the run.
        tokenizer: the one that is given, or None.

    Raises:
        ValueError: the message names the option.
    """
    from keras_transformer.data.segmentations import check_alpha
    from keras_transformer.inputs.tokenizers import SIDES, side_of
    from keras_transformer.text.sampler import SegmentationSampler
    from keras_transformer_cli.complaints import called

    alpha = settings["segmentation_alpha"]
    check_alpha(settings["segmentations"], alpha)
    kinds = [settings["subwords"]]
    if tokenizer is not None:
        kinds = [side_of(tokenizer, side).model for side in SIDES]
    if settings["segmentations"] > 1:
        with called({"alpha": "segmentation_alpha"}):
            for kind in kinds:
                SegmentationSampler(kind, [], {}, alpha, 0)


def model_changes(settings, size, target_size):
    """The arguments of `Transformer` that are changed in the preset.

    Args:
        settings: of the run.
        size, target_size: the pieces of the vocabularies. `target_size` is None if there is one.

    Raises:
        ValueError: a change is not of the form NAME=VALUE, or is of a vocabulary's size.
    """
    import yaml

    from keras_transformer_cli.config import why_no_yaml

    changes = {"vocabulary_size": size, "dropout": settings["dropout"], "dtype": settings["precision"]}
    if target_size is not None:
        changes |= {"target_vocabulary_size": target_size, "tie_embeddings": "target"}
    for change in settings["model"] or []:
        name, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"model={change!r} must be NAME=VALUE, for example norm=pre.")
        if name in OWN_OPTIONS:
            raise ValueError(f"model={change!r}: the tokenizer has this size. Give {name} as an option of its own.")
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"model={change!r}: the value is no YAML: {why_no_yaml(error)}.") from error
    return changes


def check_model(settings):
    """Refuse a preset, and arguments of the model, that are unknown or do not fit together. No weight is made.

    Raises:
        ValueError, TypeError: see `Transformer`.
    """
    import inspect

    from keras_transformer import Transformer
    from keras_transformer.inputs.options import check_arguments
    from keras_transformer.layers.architecture import CONFIG, plain_config
    from keras_transformer.presets import preset

    size = settings["vocabulary_size"] or SMALLEST_VOCABULARY
    arguments, changes = preset(settings["preset"]), model_changes(settings, size, settings["target_vocabulary_size"])
    check_arguments(Transformer, changes, "Transformer")
    defaults = {name: each.default for name, each in inspect.signature(Transformer).parameters.items()}
    given = {**defaults, **arguments, **changes}
    plain_config({name: given[name] for name in CONFIG})


def check_monitor(settings):
    """Refuse to choose the epoch by BLEU if no BLEU is computed.

    Raises:
        ValueError: it says why there is none.
    """
    import keras

    translates = keras.backend.backend() == "tensorflow"
    if settings["monitor"] == "val_bleu" and not (translates and settings["bleu_every"]):
        reason = "bleu_every is 0" if translates else f"Keras' backend {keras.backend.backend()} does not translate"
        raise ValueError(f"monitor=val_bleu needs the BLEU of the validation data, and {reason}.")
