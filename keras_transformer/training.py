"""What `model.fit` needs around it: progress, checkpoints, curves, and the card of a result."""

import atexit
import json
import os
import platform
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from keras_transformer.files import LAST_FILE, MODEL_FILE, TOKENIZER_FILE, written_beside
from keras_transformer.metrics import TokenMetric


def target_tokens(model):
    """Target tokens that `fit` has seen in this epoch, from any of our metrics; None without one."""
    for metric in model.metrics:
        for part in getattr(metric, "metrics", [metric]):
            if isinstance(part, TokenMetric):
                return int(part.tokens.numpy())  # summed over the replicas
    return None


class Throughput(keras.callbacks.Callback):
    """Adds to each epoch's logs: seconds, target tokens seen so far, their rate, the learning rate.

    Put it before callbacks that read these. The time is that of training alone, without validation.
    """

    def on_train_begin(self, logs=None):
        self.tokens = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()
        self.seconds = None

    def on_test_begin(self, logs=None):
        self._stop()  # validation resets the metrics that count the tokens

    def _stop(self):
        if self.seconds is None:
            self.epoch_tokens = target_tokens(self.model)  # waits for the last step
            self.seconds = time.monotonic() - self.started

    def on_epoch_end(self, epoch, logs=None):
        self._stop()
        logs["seconds"] = self.seconds
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        if self.epoch_tokens is not None:
            self.tokens += self.epoch_tokens
            logs["target_tokens"] = self.tokens
            logs["tokens_per_second"] = self.epoch_tokens / self.seconds


def readable(value):
    """A number in few characters: whole from 1,000 on, four digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class TrainingProgress(keras.callbacks.Callback):
    """A bar for each epoch with its time left, and a line of its results. Use with `verbose=0`.

    Where the output is no terminal, only the lines are printed.
    """

    def __init__(self, console=None):
        super().__init__()
        self.console = console or Console()
        self.bar = None

    def on_train_begin(self, logs=None):
        self._close()
        atexit.register(self._close)  # after an interrupted fit the cursor would stay hidden

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.params['epochs']}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[shown]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=self.params.get("steps"), shown="")
        self.started, self.shown_at = time.monotonic(), 0.0
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        shown = {}
        if self.console.is_terminal and now - self.shown_at > 0.5:  # reading a metric waits for the step
            self.shown_at = now
            tokens = target_tokens(self.model)
            rate = f"{tokens / (now - self.started):,.0f} tokens/s  " if tokens else ""
            shown["shown"] = f"{rate}loss {float((logs or {}).get('loss', float('nan'))):.3f}"
        self.bar.update(self.task, completed=batch + 1, **shown)

    def on_epoch_end(self, epoch, logs=None):
        self._close()
        facts = "  ".join(f"{name} {readable(value)}" for name, value in (logs or {}).items())
        self.console.print(f"epoch {epoch + 1}/{self.params['epochs']}  {facts}", highlight=False, soft_wrap=True)

    def on_train_end(self, logs=None):
        self._close()
        atexit.unregister(self._close)

    def _close(self):
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, writes the training folder that `Translator.load` reads.

    `model.keras` holds architecture, weights, the optimizer's state and with it the schedule's step; a
    model read with `keras.saving.load_model` trains on from there. With `monitor` it holds the best
    epoch since this callback was made, and `last.keras` the latest. Each file is written beside and
    moved into place, so that a crash or a full disk leaves the one before.

    Args:
        folder: created if missing.
        tokenizer: saved once, before the first model.
        monitor: name of a logged value whose lowest epoch `model.keras` keeps, such as
            "val_perplexity"; None keeps the latest.

    Raises:
        FileExistsError: the folder holds one of the files already and `overwrite` is False.
        ValueError: after the first epoch, a `monitor` that is not logged; the message lists what is.
    """

    def __init__(self, folder, tokenizer, monitor=None, overwrite=False):
        super().__init__()
        self.folder = Path(folder)
        self.tokenizer = tokenizer
        self.monitor = monitor
        self.best = float("inf")
        for name in (MODEL_FILE, LAST_FILE, TOKENIZER_FILE):
            if (self.folder / name).exists() and not overwrite:
                raise FileExistsError(
                    f"{self.folder} holds a {name} already. Choose another folder, or pass overwrite=True."
                )

    def on_train_begin(self, logs=None):
        self.tokenizer_saved = False

    def _save(self, name):
        if not self.tokenizer_saved:  # with the first model, so that files of an earlier run stay a pair until then
            self.tokenizer.save(self.folder / TOKENIZER_FILE, overwrite=True)
            self.tokenizer_saved = True
        with written_beside(self.folder / name, overwrite=True) as beside:
            self.model.save(beside)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is None:
            self._save(MODEL_FILE)
            return
        self._save(LAST_FILE)  # first, so that a mistyped name costs no training
        if self.monitor not in (logs or {}):
            raise ValueError(f"monitor={self.monitor!r} is not logged. Logged: {', '.join(sorted(logs or {}))}.")
        if logs[self.monitor] < self.best:
            self.best = logs[self.monitor]
            self._save(MODEL_FILE)


class SampleTranslations(keras.callbacks.Callback):
    """Prints what the model makes of a few sentences after an epoch.

    Args:
        translate: a function from a list of sentences to a list of translations.
        sentences, references: lists of strings.
        every: epochs between samples; the last epoch is always shown.
    """

    def __init__(self, translate, sentences, references, every=1, console=None):
        super().__init__()
        self.translate = translate
        self.sentences = list(sentences)
        self.references = list(references)
        self.every = every
        self.console = console or Console()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        translations = self.translate(self.sentences)
        for source, reference, translation in zip(self.sentences, self.references, translations, strict=True):
            mark = "=" if translation == reference else "≠"
            self.console.print(
                f"    {source}\n  → {translation}\n  {mark} {reference}", markup=False, highlight=False, soft_wrap=True
            )


PACKAGES = ("keras", "tensorflow", "tensorflow-text", "sentencepiece", "sacrebleu", "numpy")


def provenance():
    """What else a result depends on: command, machine and versions, as a dictionary of strings."""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores, "
        f"devices {', '.join(keras.distribution.list_devices())}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {installed(name)}" for name in PACKAGES),
    }


def installed(package):
    """The version of a distribution, or that none of this name is there, as with a nightly TensorFlow."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "under another name"


def result_card(title, facts):
    """What is needed to repeat a result, as Markdown: `provenance` and `facts`.

    Args:
        title: a line.
        facts: a dictionary of names to values; a nested one becomes a nested list.
    """
    lines = [f"# {title}", ""]
    for name, value in {**provenance(), **facts}.items():
        if isinstance(value, dict):
            lines += [f"- {name}:", *(f"    - {key}: {inner}" for key, inner in value.items())]
        else:
            lines.append(f"- {name}: {value}")
    return "\n".join(lines) + "\n"


def write_card(folder, title, facts):
    """Write `result_card` as `RESULT.md` and the same as `result.json` into `folder`; return the card.

    Raises:
        TypeError: a fact that JSON cannot hold; nothing is written then.
    """
    card = result_card(title, facts)
    data = json.dumps({"title": title, **provenance(), **facts}, indent=2, ensure_ascii=False) + "\n"
    for name, text in (("RESULT.md", card), ("result.json", data)):
        with written_beside(Path(folder) / name, overwrite=True) as beside:
            beside.write_text(text, encoding="utf-8")
    return card
