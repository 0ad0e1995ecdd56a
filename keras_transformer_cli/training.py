"""One training: settings, data, model, `fit`, and the files of the run."""

import os
from functools import partial

from keras_transformer_cli import settings as run_settings
from keras_transformer_cli.devices import all_gpus, make_deterministic, meet, workers
from keras_transformer_cli.early_checks import check_settings, model_changes
from keras_transformer_cli.finishing import BEST_FILE, RESULT_FILE, finish
from keras_transformer_cli.memory import check_memory
from keras_transformer_cli.screen import error_console, result, say
from keras_transformer_cli.tasks import TRANSLATION
from keras_transformer_cli.training_data import count_pairs, make_data, read_files

HISTORY = "history.jsonl"


def run_training(given, explicit, task=TRANSLATION):
    """Train with the options of the command, and print the result card.

    Args:
        given: {name: value} of all options.
        explicit: the names of those that the user gave.
        task: a `Task`.
    """
    import keras

    from keras_transformer import Transformer
    from keras_transformer.inputs.paths import check_target
    from keras_transformer.presets import preset
    from keras_transformer.training import is_chief
    from keras_transformer.translation.requests import check_beam

    strategy = workers()
    output = check_target(given["output"], "folder", "output", inside=True)
    earlier = run_settings.earlier_settings(output)
    settings = run_settings.settings_of(given, explicit, earlier, lambda: count_pairs(read_files(given)))
    if is_finished(output, earlier, settings):
        say(f"This run is finished. To train further, give more --epochs. Its result is in {output / RESULT_FILE}.")
        result((output / RESULT_FILE).read_text(encoding="utf-8").rstrip("\n"))
        return
    check_settings(settings, explicit)
    data_settings = task.prepare(settings, output)
    if learned := run_settings.own_tokenizer(output):  # with other options, it would be learned anew as another one
        data_settings = data_settings | {"tokenizer": learned}
    files = read_files(data_settings)
    if settings["deterministic"]:
        make_deterministic()
    keras.utils.set_random_seed(settings["seed"])
    devices = strategy or all_gpus()
    replicas = getattr(devices, "num_replicas_in_sync", 1)
    data = make_data(files, data_settings, output, given["vocabulary_size"] is not None, replicas)
    check_beam(settings["beam_size"], data.tokenizer)
    settings["vocabulary_size"] = vocabulary_size(data.tokenizer)
    epochs = run_settings.epochs(settings, data.train.report.batches)
    updates = epochs * data.train.report.batches
    if settings["warmup_steps"] is None:
        settings["warmup_steps"] = run_settings.warmup_steps(settings["recipe"], updates)
    arguments = model_arguments(settings, data.tokenizer)
    check_memory(preset(settings["preset"]) | arguments, settings, data.train.report.shapes)
    with devices.scope():
        model = Transformer.from_preset(settings["preset"], **arguments)
        compile_model(model, settings, updates, task.loss(settings))
    say(f"Model: {settings['preset']}, {model.count_params():,} parameters, {settings['precision']}")
    fit(model, data, settings, epochs, output, partial(begin, output, settings, task))
    if is_chief():
        result(finish(model, data, settings, output, task).rstrip("\n"))
    if strategy:
        meet(strategy)


def is_finished(output, earlier, settings):
    """Whether the run of a folder has its result, and was not asked to go on."""
    return (output / RESULT_FILE).exists() and all(
        earlier.get(name) == settings[name] for name in ("epochs", "steps", "patience")
    )


def vocabulary_size(tokenizer):
    """The pieces of the source."""
    from keras_transformer.inputs.tokenizers import vocabulary_sizes

    return vocabulary_sizes(tokenizer)["source"]


def model_arguments(settings, tokenizer):
    """The arguments of the model that differ from the preset's."""
    from keras_transformer.inputs.tokenizers import is_pair, vocabulary_sizes

    sizes = vocabulary_sizes(tokenizer)
    return model_changes(settings, sizes["source"], sizes["target"] if is_pair(tokenizer) else None)


def compile_model(model, settings, updates, loss):
    """Compile with the paper's Adam and metrics."""
    import keras

    from keras_transformer import MaskedAccuracy, Perplexity
    from keras_transformer.schedules import named_schedule

    schedule = {"peak": settings["peak"], "warmup_steps": settings["warmup_steps"]}
    rate = named_schedule(settings["schedule"], d_model=model.d_model, updates=updates, **schedule)
    adam = {"beta_2": settings["beta_2"], "epsilon": settings["epsilon"], "global_clipnorm": settings["clip_norm"]}
    optimizer = keras.optimizers.Adam(rate, **adam)
    if settings["precision"] == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer,
        loss=loss,
        metrics=[MaskedAccuracy(), Perplexity()],
        accumulate_steps=settings["accumulate_steps"],
        jit_compile="auto" if settings["jit"] is None else settings["jit"],
    )


def begin(output, settings, task, logs=None):
    """Write the settings of a run that was not refused. The result of a finished run that goes on is removed."""
    from keras_transformer.training import is_chief

    if is_chief():
        run_settings.save(output, settings, task)
    if (output / BEST_FILE).exists():
        os.replace(output / BEST_FILE, output / "model.keras")
    (output / RESULT_FILE).unlink(missing_ok=True)


def fit(model, data, settings, epochs, output, accepted):
    """Train. The folder of the run gets models, states and the history.

    `accepted` is called before the first step, when all callbacks have found that the run can go on.
    """
    import keras

    stop, callbacks = make_callbacks(model, data, settings, output)
    model.fit(
        stop.watch(data.train),
        validation_data=data.valid,
        epochs=epochs,
        verbose=0,
        shuffle=False,  # the corpus shuffles itself
        callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_train_begin=accepted)],
    )


def make_callbacks(model, data, settings, output):
    """`StopOnNaN`, which watches the data, and all callbacks in their order."""
    import keras

    from keras_transformer.training import (
        AverageWeights,
        Checkpoint,
        HistoryFile,
        SampleTranslations,
        StopOnNaN,
        TensorBoardLog,
        Throughput,
        TrainingProgress,
        ValidationBLEU,
    )

    stop, throughput, monitor = StopOnNaN(), Throughput(), settings["monitor"]
    callbacks, counting, samples = [stop, throughput], [throughput], []
    if translate := translator(model, data, settings):
        sources, references = zip(*data.validation, strict=True)
        if settings["bleu_every"]:
            every, tokenize = settings["bleu_every"], settings["bleu_tokenize"]
            callbacks.append(ValidationBLEU(translate, sources, references, every, tokenize))
        if settings["samples"]:
            shown = [side[: settings["samples"]] for side in (sources, references)]
            samples = [SampleTranslations(translate, *shown, console=error_console())]
    callbacks += [TrainingProgress(error_console()), HistoryFile(output / HISTORY)]
    if settings["tensorboard"]:
        callbacks.append(TensorBoardLog(output / "curves", report=data.train.report))
    if settings["patience"] is not None:
        mode = "max" if monitor == "val_bleu" else "min"
        counting.append(keras.callbacks.EarlyStopping(monitor, mode=mode, patience=settings["patience"]))
        callbacks.append(counting[-1])
    if settings["average"] > 1:
        callbacks.append(AverageWeights(output, n=settings["average"], every_steps=settings["average_every"]))
    states = {"corpus": data.train, "every_steps": settings["every_steps"], "callbacks": counting}
    callbacks.append(Checkpoint(output, data.tokenizer, monitor=monitor, **states))
    return stop, callbacks + samples


def translator(model, data, settings):
    """A greedy `Translator` of the model in training, or None if nothing is to be translated."""
    import keras

    if keras.backend.backend() != "tensorflow" or not (settings["bleu_every"] or settings["samples"]):
        return None
    from keras_transformer import Translator

    return Translator(model, data.tokenizer, beam_size=1)
