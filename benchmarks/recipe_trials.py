"""Train with one setting, and report validation perplexity and BLEU: how the numbers of `recommended` were chosen.

    python benchmarks/recipe_trials.py --output runs/t1 --train train.en --train train.de --valid dev.en \
        --valid dev.de --pairs 10000 --preset multi30k_small --vocabulary-size 4000 --epochs 15

The run keeps the epoch of the best validation perplexity and the mean of the last epochs. Both are scored on the
validation data. `--test` scores both on a test set too: give it once, after the choice. Started again, the same command
resumes.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import keras
import typer

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    MaskedAccuracy,
    Perplexity,
    Tokenizer,
    Transformer,
    Translator,
    parallel_corpus,
)
from keras_transformer.console import safe_console, show
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.files import written_beside
from keras_transformer.schedules import named_schedule
from keras_transformer.training import (
    AverageWeights,
    Checkpoint,
    HistoryFile,
    StopOnNaN,
    Throughput,
    TrainingProgress,
    read_history,
    training_facts,
    write_card,
)
from keras_transformer.translation import load_model


def first_pairs(paths, number, folder):
    """Copies of the first `number` lines of each file, or the files themselves if `number` is None."""
    if number is None:
        return paths
    copies = [folder / f"train.{number}.{side}" for side in ("source", "target")]
    for path, copy in zip(paths, copies, strict=True):
        with written_beside(copy, overwrite=True, kind="file") as beside:
            lines = path.read_text(encoding="utf-8").split("\n")[:number]
            beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return copies


def score(folder, paths):
    """The scores of the models of a training folder on aligned files: {"best epoch": …, "average": …}."""
    sources, references = zip(*read_pairs(*paths), strict=True)
    found = {}
    for name, model in (("best epoch", "model.keras"), ("average", "average.keras")):
        translator = Translator(load_model(folder / model, "float32"), Tokenizer.load(folder / "tokenizer.model"))
        found[name] = evaluate(translator(sources, progress=True), references)
    return found


def main(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    train: Annotated[list[Path], typer.Option(help="Twice: source and target.")],
    valid: Annotated[list[Path], typer.Option(help="Twice: source and target.")],
    test: Annotated[list[Path] | None, typer.Option(help="Twice: source and target.")] = None,
    pairs: Annotated[int | None, typer.Option(help="Take only so many pairs.")] = None,
    preset: str = "multi30k_small",
    vocabulary_size: int = 6000,
    tokens_per_batch: int = 2560,
    schedule: str = "cosine",
    peak: float = 1e-3,
    warmup_steps: int = 600,
    epochs: int = 10,
    dropout: float = 0.2,
    average: int = 3,
    precision: str = "mixed_bfloat16",
    seed: int = 1,
):
    """Train, score on the validation data, and write a result card."""
    console = safe_console()
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    files = first_pairs(train, pairs, output)
    tokenizer_file = output / "tokenizer.model"
    if tokenizer_file.exists():
        tokenizer = Tokenizer.load(tokenizer_file)
    else:
        tokenizer = Tokenizer.train(files, vocabulary_size)
        tokenizer.save(tokenizer_file)
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=tokens_per_batch, seed=seed)
    held_out = parallel_corpus(*valid, tokenizer, tokens_per_batch=tokens_per_batch, shuffle=False)
    show(console, str(corpus.report))
    model = Transformer.from_preset(preset, vocabulary_size=tokenizer.vocabulary_size, dropout=dropout, dtype=precision)
    rate = named_schedule(schedule, peak, model.d_model, warmup_steps, epochs * corpus.report.batches)
    model.compile(
        keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9),
        loss=LabelSmoothedCrossEntropy(0.1),
        metrics=[MaskedAccuracy(), Perplexity()],
    )
    stop, throughput, started = StopOnNaN(), Throughput(), time.monotonic()
    averages = AverageWeights(output / "model", n=average)
    checkpoint = Checkpoint(
        output / "model", tokenizer, monitor="val_perplexity", corpus=corpus, callbacks=[throughput]
    )
    model.fit(
        stop.watch(corpus),
        validation_data=held_out,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=[
            stop,
            throughput,
            TrainingProgress(console),
            HistoryFile(output / "history.jsonl"),
            averages,
            checkpoint,
        ],
    )
    minutes = (time.monotonic() - started) / 60
    scores = {f"valid, {name}": value for name, value in score(output / "model", valid).items()}
    if test:
        scores |= {f"test, {name}": value for name, value in score(output / "model", test).items()}
    history = read_history(output / "history.jsonl")
    facts = training_facts(model, corpus.report, history, preset=preset, seed=seed, files=files, scores=scores)
    setting = {
        "preset": preset,
        "vocabulary_size": vocabulary_size,
        "tokens_per_batch": tokens_per_batch,
        "schedule": schedule,
        "peak": peak,
        "warmup_steps": warmup_steps,
        "epochs": epochs,
        "dropout": dropout,
        "precision": precision,
    }
    card = write_card(output, f"{output.name}", facts | {"setting": json.dumps(setting), "minutes": f"{minutes:.1f}"})
    show(console, card)


if __name__ == "__main__":
    typer.run(main)
