"""Learn to translate numbers, dates and times from English to German, from corpus to service, in a few minutes.

    python examples/quickstart.py                           train, score, export, translate
    python examples/quickstart.py "The ticket costs …"      the same with your sentences; after training, only translate

It needs no download, because `numbers_corpus.py` makes the corpus. No phrase of the test set is in the training set.
At the end the model runs as it would on a server: a new process loads the exported SavedModel, with only TensorFlow and
TensorFlow Text.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from keras_transformer_cli.quiet import end_quietly, quiet_startup

if __name__ == "__main__":
    end_quietly()
    quiet_startup()  # before TensorFlow is imported

import keras
import numbers_corpus
import typer

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    MaskedAccuracy,
    Perplexity,
    Tokenizer,
    Transformer,
    TransformerSchedule,
    Translator,
    parallel_corpus,
    plots,
)
from keras_transformer.console import safe_console, show
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.files import written_beside
from keras_transformer.training import (
    Checkpoint,
    HistoryFile,
    SampleTranslations,
    StopOnNaN,
    Throughput,
    TrainingProgress,
    read_history,
    training_facts,
    write_card,
)

PRESET = "quickstart"
TOKENS_PER_BATCH = 1024
PEAK, WARMUP_STEPS = 2e-3, 400
DRAWN = "They want to sell twenty-one books.", "Sie wollen einundzwanzig Bücher verkaufen."

# What a server does. It needs only the folder of the export.
SERVE = """
import json
import sys
import tensorflow as tf
import tensorflow_text  # the tokenizer's ops

_, folder, *sentences = sys.argv
serve = tf.saved_model.load(folder).signatures["serving_default"]
translations = serve(sentences=tf.constant(sentences))["translations"]
print(json.dumps([text.decode() for text in translations.numpy()]))
"""


def refuse_to_replace(output, export):
    """Stop if an earlier run has left something, and say what to do."""
    for path in (export, output):
        if path.exists():
            program = f"{sys.executable} {sys.argv[0]}"
            use = f'To translate with it:\n    {program} "It is a quarter past seven."\n' if path == export else ""
            raise SystemExit(
                f"{path} exists already, from an earlier run.\n{use}"
                f"To train again and replace it:\n    {program} --overwrite\n"
                "To keep it beside a new one, choose another --output and another --export."
            )


def make_data(folder, num_pairs, vocabulary_size, seed, overwrite):
    """Write the corpus. Returns {split: (English path, German path)}, a tokenizer, and the datasets of two splits."""
    numbers_corpus.write(folder, num_pairs, overwrite=overwrite)
    files = {split: (folder / f"{split}.en", folder / f"{split}.de") for split in ("train", "valid", "test")}
    tokenizer = Tokenizer.train(files["train"], vocabulary_size)
    options = {"tokens_per_batch": TOKENS_PER_BATCH, "num_shapes": 6}
    train = parallel_corpus(*files["train"], tokenizer, seed=seed, **options)
    valid = parallel_corpus(*files["valid"], tokenizer, shuffle=False, **options)
    return files, tokenizer, train, valid


def make_model(vocabulary_size):
    """The preset's model after `compile`."""
    model = Transformer.from_preset(PRESET, vocabulary_size=vocabulary_size)
    schedule = TransformerSchedule.with_peak(PEAK, model.d_model, WARMUP_STEPS)
    model.compile(
        keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9),
        loss=LabelSmoothedCrossEntropy(0.1),
        metrics=[MaskedAccuracy(), Perplexity()],
    )
    return model


def fit(model, tokenizer, train, valid, samples, epochs, output, overwrite, console):
    """Train the model, show its translations of the samples, and write the training folder and the history."""
    greedy = Translator(model, tokenizer, beam_size=1)
    stop = StopOnNaN()
    model.fit(
        stop.watch(train),
        validation_data=valid,
        epochs=epochs,
        verbose=0,
        shuffle=False,  # the dataset shuffles itself
        callbacks=[
            stop,
            Throughput(),
            TrainingProgress(console),
            HistoryFile(output / "history.jsonl"),
            Checkpoint(output / "model", tokenizer, overwrite=overwrite),
            SampleTranslations(greedy, *zip(*samples, strict=True), console=console),
        ],
    )


def draw(history, translator, folder):
    """Draw the curves of the training, and the attention of the last decoder layer for one translation."""
    plots.training_curves(history, folder)
    source, target, weights = translator.attention(*DRAWN)
    plots.attention_map(weights["cross"][-1].mean(axis=0), source, target, folder / "attention.png")  # (T, S)


def facts_of_test(translator, translations, references, minutes):
    """The facts that only this example has on its result card."""
    exact = sum(map(str.__eq__, translations, references))
    return {
        "time": f"{minutes:.1f} minutes, from nothing to the trained model",
        "search": f"beam {translator.beam_size}, length penalty {translator.length_penalty}",
        "exact match": f"{exact / len(references):.2%}, {exact:,} of {len(references):,} held-out sentences",
    }


def write_result(output, model, report, files, seed, scores, facts):
    """Write the result card, and return it."""
    history = read_history(output / "history.jsonl")
    paths = [path for pair in files.values() for path in pair]
    run = training_facts(model, report, history, preset=PRESET, seed=seed, files=paths, scores={"test": scores})
    return write_card(output, "Quickstart: numbers, English to German", run | facts)


def translate_with_export(export, sentences, console):
    """Load the export in a new process, and print its translations."""
    show(console, f"\nTranslated by {export}, with only TensorFlow:")
    command = [sys.executable, "-c", SERVE, str(export), *sentences]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # this process may use all the memory of a GPU
    run = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    if run.returncode:
        raise RuntimeError(f"the export {export} does not run:\n{run.stderr}")
    for sentence, translation in zip(sentences, json.loads(run.stdout), strict=True):
        show(console, f"    {sentence}\n  → {translation}")


def main(
    sentences: Annotated[list[str] | None, typer.Argument(help="English sentences to translate.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for corpus, model and pictures.")] = Path("runs/quickstart"),
    export: Annotated[Path, typer.Option(help="Folder of the SavedModel.")] = Path("saved_models/numbers_en_de/1"),
    num_pairs: Annotated[int, typer.Option(help="Sentence pairs to make.")] = 30_000,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces of the joint BPE vocabulary.")] = 1000,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 5,
    seed: Annotated[int, typer.Option(help="Of weights, dropout and shuffling.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train again and replace what is there.")] = False,
):
    """Train a small English-German Transformer on sentences with numbers; score, draw, export and use it."""
    console = safe_console()
    if sentences and export.exists() and not overwrite:
        translate_with_export(export, sentences, console)
        return
    if not overwrite:
        refuse_to_replace(output, export)
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    show(console, f"Making {num_pairs:,} sentence pairs and learning {vocabulary_size:,} subwords …")
    files, tokenizer, train, valid = make_data(output / "corpus", num_pairs, vocabulary_size, seed, overwrite)
    show(console, str(train.report))
    model = make_model(vocabulary_size)
    show(console, f"Training {model.count_params():,} parameters, a few minutes on two processor cores …")
    samples = read_pairs(*files["valid"])[:3]
    fit(model, tokenizer, train, valid, samples, epochs, output, overwrite, console)
    minutes = (time.monotonic() - started) / 60

    translator = Translator(model, tokenizer)
    english, german = zip(*read_pairs(*files["test"]), strict=True)
    translations = translator(english, progress=True)
    with written_beside(output / "test.translations", overwrite=True) as path:
        path.write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    draw(read_history(output / "history.jsonl"), translator, output)
    translator.export(export, overwrite=overwrite)
    facts = facts_of_test(translator, translations, german, minutes)
    card = write_result(output, model, train.report, files, seed, evaluate(translations, german), facts)
    show(console, card)
    translate_with_export(export, sentences or english[:5], console)


if __name__ == "__main__":
    typer.run(main)
