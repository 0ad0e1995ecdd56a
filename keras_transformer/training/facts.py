"""Collect the facts of a training for its result card."""

import gzip
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_transformer.backend import compat
from keras_transformer.backend.replicas import replicas_of
from keras_transformer.files import sha256
from keras_transformer.inputs.paths import AnyPath
from keras_transformer.model import Transformer
from keras_transformer.presets import preset as preset_arguments
from keras_transformer.readers.pipes import is_pipe
from keras_transformer.training.monitors import sign_of
from keras_transformer.training.sums import updates

NO_ARCHITECTURE = ("name", "trainable", "dtype")  # fields of a model's config


def training_facts(
    model: Any,
    report: Any,
    history: Sequence[Mapping[str, Any]],
    *,
    preset: str | None = None,
    seed: int | None = None,
    files: Sequence[AnyPath] = (),
    scores: Mapping[str, Any] | None = None,
    averaged: str = "no",
) -> dict[str, Any]:
    """Collect the facts of a result for `write_card`, as numbers and names that JSON can hold.

    Example:
        After `model.fit` on the corpus `train`:

            facts = training_facts(
                model, train.report, history, preset="multi30k_small", seed=1, files=["train.en", "train.de"],
                scores={"test": evaluate(translations, references)},
            )
            write_card("runs/en_de", "English to German", facts)

    Args:
        model: the compiled `Transformer` after `fit`.
        report: the `CorpusReport` of the training corpus.
        history: `fit(...).history`, or the rows of `read_history`. With `Throughput`, tokens and time are facts too.
        preset: the name of the model's preset. The facts list what differs from it. Without a preset, they list what
            differs from the defaults of the constructor.
        seed: the argument of `keras.utils.set_random_seed`.
        files: the files of the corpus. The facts hold the SHA-256 of each.
        scores: {name: `Scores`}.
        averaged: in words, the checkpoints whose average the scored model is.

    Returns:
        A nested dictionary; `facts | {...}` adds to it.

    Raises:
        ValueError: the preset is unknown, or the history has no epoch, or has the token rate of some epochs only.
        OSError: a file cannot be read.
    """
    facts = {
        "seed": seed,
        "model": model_facts(model, preset),
        "corpus": corpus_facts(report, files),
        "training": update_facts(model, report) | run_facts(history),
        "averaged": averaged,
    }
    if scores:
        facts["scores"] = {name: score_facts(corpus_scores) for name, corpus_scores in scores.items()}
    return facts


def model_facts(model, preset=None):
    """Return the preset of a `Transformer`, the arguments that differ from it, its size and its precision."""
    parameters = inspect.signature(Transformer).parameters.values()
    expected = {parameter.name: parameter.default for parameter in parameters}
    expected |= preset_arguments(preset) if preset else {}
    config = model.get_config()
    expected["target_vocabulary_size"] = config["vocabulary_size"]
    changes = {name: value for name, value in config.items() if name not in NO_ARCHITECTURE and value != expected[name]}
    return {
        "preset": preset or "none",
        "changes": changes,
        "parameters": model.count_params(),
        "precision": keras.dtype_policies.get(config["dtype"]).name,
    }


def corpus_facts(report, files=()):
    """Return the numbers of pairs that were kept and dropped, their tokens and padding, and the files."""
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
    """Return the size and the SHA-256 of a file; for a `.gz`, also the SHA-256 of the unpacked bytes.

    Raises:
        ValueError: a pipe, whose bytes are gone after the first reading.
    """
    if is_pipe(path):
        raise ValueError(f"files has {path}, which is a pipe and can be read only once. Leave it out of the facts.")
    facts = {"bytes": Path(path).stat().st_size, "SHA-256": sha256(path)}
    if Path(path).suffix == ".gz":
        facts["SHA-256 unpacked"] = sha256(path, gzip.open)
    return facts


def update_facts(model, report):
    """Return how the weights were updated. The tokens of an update are those of all replicas and micro-batches."""
    optimizer = compat.inner_optimizer(model.optimizer)
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
    """Return epochs, time, speed and the best validation values.

    Args:
        history: the columns of `fit(...).history`, or the rows of `read_history`.

    Raises:
        ValueError: see `training_facts`.
    """
    if isinstance(history, list):
        names = dict.fromkeys(name for row in history for name in row)
        history = {name: [row[name] for row in history if row.get(name) is not None] for name in names}
    facts = {"epochs": max(map(len, history.values()), default=0)}
    if not facts["epochs"]:
        raise ValueError(
            "history has no epoch, as after a fit with nothing left to do. Pass read_history's rows of the whole run."
        )
    if seconds := history.get("seconds"):
        facts["seconds without validation"] = round(sum(seconds), 1)
        if rates := history.get("tokens_per_second"):
            if len(rates) != len(seconds):
                raise ValueError(
                    f"history has tokens_per_second in {len(rates)} epochs and seconds in {len(seconds)}: the tokens "
                    "of the run are not known. Leave out tokens_per_second, or the epochs without it."
                )
            tokens = round(sum(rate * duration for rate, duration in zip(rates, seconds, strict=True)))
            facts |= {"target tokens": tokens, "target tokens a second": round(tokens / sum(seconds), 1)}
    for name, values in history.items():
        if not name.startswith("val_"):
            continue
        if values := [value for value in values if value is not None and math.isfinite(value)]:
            best = (max if sign_of(name) == 1 else min)(values)
            facts[f"best {name}"] = float(f"{best:.6g}")
    return facts


def score_facts(scores):
    """Return the fields of `keras_transformer.evaluate.Scores` that were computed."""
    facts = {
        "BLEU": scores.bleu,
        "BLEU details": scores.bleu_details,
        "BLEU signature": scores.bleu_signature,
        "chrF": scores.chrf,
        "chrF signature": scores.chrf_signature,
        "chrF++": scores.chrf_plus_plus,
        "chrF++ signature": scores.chrf_plus_plus_signature,
        "TER": scores.ter,
        "TER signature": scores.ter_signature,
        "BLEU of the paper": scores.paper_bleu,
        "BLEU of the paper, details": scores.paper_bleu_details,
        "BLEU of the paper, signature": scores.paper_bleu_signature,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in known.items()}
