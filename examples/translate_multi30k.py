"""Train, score and export an English-German translator on Multi30k's image captions.

    python examples/translate_multi30k.py --output runs/multi30k

downloads the corpus from its public address. With `--data DIR` it takes the corpus from a folder. Multi30k is derived
from Flickr30K, so it is for non-commercial research and education only.
"""

import time
from pathlib import Path
from typing import Annotated

from keras_transformer_cli.quiet import end_quietly, quiet_startup

if __name__ == "__main__":
    end_quietly()
    quiet_startup()  # before TensorFlow is imported

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
    plots,
)
from keras_transformer.console import safe_console, show
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.files import written_beside
from keras_transformer.schedules import SCHEDULES, named_schedule
from keras_transformer.training import (
    Checkpoint,
    HistoryFile,
    SampleTranslations,
    StopOnNaN,
    Throughput,
    TrainingProgress,
    ValidationBLEU,
    read_history,
    training_facts,
    write_card,
)

ADDRESS = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1"
SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
# "raw" is the original text. "tok" is lower-cased, normalized and tokenized by Moses; published scores are for it.
VARIANTS = {"raw": "raw/{split}.{language}.gz", "tok": "tok/{split}.lc.norm.tok.{language}"}
SACREBLEU_TOKENIZE = {"raw": "13a", "tok": "none"}
MONITORS = ("val_perplexity", "val_bleu")


def corpus_files(data, variant, languages, address=ADDRESS):
    """{split: (source path, target path)} in the folder `data`. If it is None, the files are downloaded once.

    Raises:
        FileNotFoundError: the folder lacks a file. The message names all places where it could be.
    """

    def find(split, language):
        name = VARIANTS[variant].format(split=SPLITS[split], language=language)
        if data is None:
            cached = f"multi30k_{name.replace('/', '_')}"
            return Path(keras.utils.get_file(cached, f"{address}/{name}", cache_subdir="datasets/multi30k"))
        tried = [Path(data) / part for name in (name, name.removesuffix(".gz")) for part in (name, Path(name).name)]
        for path in tried:
            if path.is_file():
                return path
        raise FileNotFoundError(f"no {split} file for {language!r} in {data}; looked for {', '.join(map(str, tried))}.")

    return {split: tuple(find(split, language) for language in languages) for split in SPLITS}


def check_options(output, **choices):
    """Refuse an option that has no meaning, or an output that would replace something, before any work.

    Args:
        output: the output folder.
        choices: for each option its value and the values that it may have.

    Raises:
        typer.BadParameter: it names the option.
    """
    for option, (value, known) in choices.items():
        if value not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}, got {value!r}.", param_hint=f"--{option}")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise typer.BadParameter(f"{output} exists and is not an empty folder; choose another.", param_hint="--output")


def make_data(files, vocabulary_size, tokens_per_batch, seed):
    """A tokenizer of both languages, and the datasets to train and to validate on."""
    tokenizer = Tokenizer.train(files["train"], vocabulary_size)
    train = parallel_corpus(*files["train"], tokenizer, tokens_per_batch=tokens_per_batch, seed=seed)
    valid = parallel_corpus(*files["valid"], tokenizer, tokens_per_batch=tokens_per_batch, shuffle=False)
    return tokenizer, train, valid


def make_model(preset, vocabulary_size, precision, dropout):
    """The preset's model. A dropout of None is that of the preset."""
    changes = {} if dropout is None else {"dropout": dropout}
    return Transformer.from_preset(preset, vocabulary_size=vocabulary_size, dtype=precision, **changes)


def compile_model(model, rate, jit):
    """Compile the model with the paper's optimizer and loss."""
    model.compile(
        keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9),
        loss=LabelSmoothedCrossEntropy(0.1),
        metrics=[MaskedAccuracy(), Perplexity()],
        jit_compile=jit,
    )


def fit(model, tokenizer, train, valid, validation, *, epochs, monitor, tokenize, output, console):
    """Train the model, and write the training folder, the history and its pictures.

    Args:
        train, valid: datasets of `parallel_corpus`.
        validation: the pairs of `valid`, for BLEU and for samples.
        tokenize: sacreBLEU's tokenizer.

    Returns:
        The facts "time" and "kept" of the result card.
    """
    stop, greedy = StopOnNaN(), Translator(model, tokenizer, beam_size=1)
    bleu = ValidationBLEU(greedy, *zip(*validation, strict=True), tokenize=tokenize)
    started = time.monotonic()
    model.fit(
        stop.watch(train),
        validation_data=valid,
        epochs=epochs,
        verbose=0,
        shuffle=False,  # the corpus shuffles itself
        callbacks=[
            stop,
            Throughput(),
            *([bleu] if monitor == "val_bleu" else []),
            TrainingProgress(console),
            HistoryFile(output / "history.jsonl"),
            Checkpoint(output / "model", tokenizer, monitor=monitor),
            SampleTranslations(greedy, *zip(*validation[:3], strict=True), every=5),
        ],
    )
    minutes = (time.monotonic() - started) / 60
    plots.training_curves(read_history(output / "history.jsonl"), output)
    return {
        "time": f"{minutes:.1f} minutes of training, validation and samples included",
        "kept": f"the epoch of the best {monitor}" + (f", {bleu.scores.bleu_signature}" if bleu.scores else ""),
    }


def score_and_export(output, pairs, tokenize):
    """Translate the test set with the kept model, write the translations, and export the model.

    Returns:
        The scores of the translations, and the fact "search" of the result card.
    """
    translator = Translator.load(output / "model", dtype="float32")
    sentences, references = zip(*pairs, strict=True)
    translations = translator(sentences, progress=True)
    with written_beside(output / "test_2016.translations") as beside:
        beside.write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    scores = evaluate(translations, references, tokenize)
    translator.export(output / "saved_model" / "1")
    return scores, f"beam {translator.beam_size}, length penalty {translator.length_penalty}"


def write_result(output, title, model, report, files, facts, **run):
    """Write the result card of a run, and return it. `run` holds more arguments of `training_facts`."""
    history = read_history(output / "history.jsonl")
    paths = [path for pair in files.values() for path in pair]
    return write_card(output, title, training_facts(model, report, history, files=paths, **run) | facts)


def main(
    output: Annotated[Path, typer.Option(help="Folder for model, export, pictures and result card.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the corpus; downloaded if not given.")] = None,
    variant: Annotated[str, typer.Option(help="raw (cased) or tok (lower-cased, tokenized).")] = "tok",
    source: Annotated[str, typer.Option(help="Source language: en, de or fr.")] = "en",
    target: Annotated[str, typer.Option(help="Target language: en, de or fr.")] = "de",
    preset: Annotated[str, typer.Option(help="A preset of the model.")] = "multi30k_small",
    dropout: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces of the joint BPE vocabulary.")] = 6000,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 14,
    tokens_per_batch: Annotated[int, typer.Option(help="Padded tokens in a batch, on its longer side.")] = 2560,
    schedule: Annotated[str, typer.Option(help="cosine (to zero, for short runs) or paper (inverse root).")] = "cosine",
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    warmup_steps: Annotated[int, typer.Option(help="Updates until the highest learning rate.")] = 600,
    precision: Annotated[str, typer.Option(help="Of training: mixed_bfloat16 or float32.")] = "mixed_bfloat16",
    jit: Annotated[bool, typer.Option(help="Compile the training step with XLA.")] = False,
    monitor: Annotated[str, typer.Option(help="Keep the epoch with the best val_perplexity or val_bleu.")] = MONITORS[
        0
    ],
    seed: Annotated[int, typer.Option(help="Of weights, dropout and shuffling.")] = 1,
):
    """Train on Multi30k, score test_2016 with beam 4, export, and print a result card."""
    check_options(output, variant=(variant, VARIANTS), schedule=(schedule, SCHEDULES), monitor=(monitor, MONITORS))
    console, tokenize = safe_console(), SACREBLEU_TOKENIZE[variant]
    keras.utils.set_random_seed(seed)
    files = corpus_files(data, variant, (source, target))
    validation, test = read_pairs(*files["valid"]), read_pairs(*files["test"])
    tokenizer, train, valid = make_data(files, vocabulary_size, tokens_per_batch, seed)
    show(console, f"training corpus: {train.report}")
    model = make_model(preset, tokenizer.vocabulary_size, precision, dropout)
    compile_model(
        model, named_schedule(schedule, peak, model.d_model, warmup_steps, epochs * train.report.batches), jit
    )
    show(console, f"{preset}: {model.count_params():,} parameters")
    options = {"epochs": epochs, "monitor": monitor, "tokenize": tokenize, "output": output, "console": console}
    training = fit(model, tokenizer, train, valid, validation, **options)
    scores, search = score_and_export(output, test, tokenize)
    facts = {"vocabulary": f"joint BPE, {vocabulary_size:,} pieces", "jit": jit, **training, "search": search}
    run = {"preset": preset, "seed": seed, "scores": {"test_2016": scores}}
    title = f"Multi30k {variant} {source}-{target}, {preset}"
    card = write_result(output, title, model, train.report, files, facts, **run)
    show(console, card)


if __name__ == "__main__":
    typer.run(main)
