"""What a training was: the facts of its card, from what it leaves behind."""

import gzip
import inspect
import math
from pathlib import Path

import keras

from keras_transformer.backend.replicas import replicas_of
from keras_transformer.files import sha256
from keras_transformer.model import Transformer
from keras_transformer.presets import preset as arguments_of
from keras_transformer.training.monitors import sign_of
from keras_transformer.training.sums import updates

RUN_OPTIONS = ("name", "trainable", "dtype")  # of a model's config: no architecture


def training_facts(model, report, history, *, preset=None, seed=None, files=(), scores=None, averaged="no"):
    """The facts of a result for `write_card`: numbers and names that JSON can hold.

        facts = training_facts(model, train.report, history, preset="multi30k_small", seed=1, files=train_files,
            scores={"test": evaluate(translations, references)})
        write_card(folder, "English to German", facts)

    Args:
        model: the compiled `Transformer` after `fit`.
        report: the training corpus' `CorpusReport`.
        history: `fit(...).history`, or the rows of `read_history`; with `Throughput`, its tokens and time are facts.
        preset: the name of the preset that the model was made of; its changes are found. Without one, changes
            are those from the constructor's defaults.
        seed: what `keras.utils.set_random_seed` got.
        files: the corpus' files; each is hashed.
        scores: {name: `Scores`}.
        averaged: which checkpoints the scored model is the average of, in words.

    Returns:
        A nested dictionary; `facts | {...}` adds to it.

    Raises:
        ValueError: an unknown preset; a history without an epoch, or with the rate of tokens in some epochs alone.
        OSError: a file that cannot be read.
    """
    facts = {
        "seed": seed,
        "model": model_facts(model, preset),
        "corpus": corpus_facts(report, files),
        "training": update_facts(model, report) | run_facts(history),
        "averaged": averaged,
    }
    if scores:
        facts["scores"] = {name: score_facts(found) for name, found in scores.items()}
    return facts


def model_facts(model, preset=None):
    """Preset, what differs from it, size and precision of a `Transformer`."""
    parameters = inspect.signature(Transformer).parameters.values()
    expected = {one.name: one.default for one in parameters} | (arguments_of(preset) if preset else {})
    config = model.get_config()
    expected["target_vocabulary_size"] = config["vocabulary_size"]
    unlike = {name: value for name, value in config.items() if name not in RUN_OPTIONS and value != expected[name]}
    return {
        "preset": preset or "none",
        "changes": unlike,
        "parameters": model.count_params(),
        "precision": keras.dtype_policies.get(config["dtype"]).name,
    }


def corpus_facts(report, files=()):
    """What was kept and dropped, and why, and which files it was."""
    return {
        "pairs": report.pairs,
        "kept": report.kept,
        "dropped": {
            "with an empty side": report.dropped_empty,
            f"with a side of more than {report.max_length} ids": report.dropped_long,
        },
        "source tokens": report.source_tokens,
        "target tokens": report.target_tokens,
        "padding of the source": f"{1 - report.source_tokens / report.source_positions:.1%}",
        "padding of the target": f"{1 - report.target_tokens / report.target_positions:.1%}",
        "corpora": {
            share.source: f"weight {share.weight:g}, {share.pairs_an_epoch} pairs an epoch" for share in report.corpora
        },
        "files": {str(path): file_facts(path) for path in files},
    }


def file_facts(path):
    """Size and SHA-256 of a file; of a `.gz`, the SHA-256 of what is in it too."""
    facts = {"bytes": Path(path).stat().st_size, "SHA-256": sha256(path)}
    if Path(path).suffix == ".gz":
        facts["SHA-256 unpacked"] = sha256(path, gzip.open)
    return facts


def update_facts(model, report):
    """How the weights were updated; a batch's tokens are those of all replicas and micro-batches together."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # inside loss scaling
    config = keras.saving.serialize_keras_object(optimizer)["config"]
    rate = config.pop("learning_rate")
    unused = {"name", *([] if optimizer.use_ema else ["ema_momentum"])}
    options = {name: value for name, value in config.items() if name not in unused and value not in (None, False)}
    return {
        "target tokens an update": round(report.target_tokens / report.batches, 1),
        "replicas": replicas_of(model),
        "micro-batches": model.accumulate_steps,
        "updates": updates(model),
        "shapes that XLA compiled": model.train_compilations,
        "optimizer": {"class": type(optimizer).__name__, **options},
        "learning rate": {"class": rate["class_name"], **rate["config"]} if isinstance(rate, dict) else rate,
    }


def run_facts(history):
    """Epochs, time, speed and the best validation values, from the columns of `fit` or the rows of `read_history`.

    Raises:
        ValueError: see `training_facts`.
    """
    if isinstance(history, list):
        names = dict.fromkeys(name for row in history for name in row)
        history = {name: [row[name] for row in history if row.get(name) is not None] for name in names}
    facts = {"epochs": max(map(len, history.values()), default=0)}
    if not facts["epochs"]:
        raise ValueError(
            "history has no epoch, as that of a fit with nothing left to do. Pass read_history's rows of the whole run."
        )
    if seconds := history.get("seconds"):
        facts["seconds without validation"] = round(sum(seconds), 1)
        if rates := history.get("tokens_per_second"):
            if len(rates) != len(seconds):
                raise ValueError(
                    f"history has tokens_per_second in {len(rates)} epochs and seconds in {len(seconds)}: the tokens "
                    "of the run are not known. Leave out the one, or the epochs without it."
                )
            tokens = round(sum(rate * part for rate, part in zip(rates, seconds, strict=True)))
            facts |= {"target tokens": tokens, "target tokens a second": round(tokens / sum(seconds), 1)}
    for name, values in history.items():
        if not name.startswith("val_"):
            continue
        if values := [value for value in values if value is not None and math.isfinite(value)]:
            best = (max if sign_of(name) == 1 else min)(values)
            facts[f"best {name}"] = float(f"{best:.6g}")
    return facts


def score_facts(scores):
    """The fields of `keras_transformer.evaluate.Scores`."""
    return {
        "BLEU": round(scores.bleu, 2),
        "BLEU details": scores.bleu_details,
        "BLEU signature": scores.bleu_signature,
        "chrF": round(scores.chrf, 2),
        "chrF signature": scores.chrf_signature,
    }
