"""Train, score and export an English-German translator on Multi30k's image captions.

    python examples/translate_multi30k.py --output runs/multi30k

downloads the corpus from its public address; `--data DIR` takes it from a folder instead. Multi30k is
derived from Flickr30K: for non-commercial research and education only.
"""

import time
from pathlib import Path
from typing import Annotated

import keras
import typer
from rich.console import Console

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
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.files import written_beside
from keras_transformer.training import Checkpoint, SampleTranslations, Throughput, TrainingProgress, write_card

ADDRESS = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1"
SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
# "raw" is cased running text; "tok" is lower-cased, normalised and Moses-tokenised, what published scores are of.
VARIANTS = {"raw": "raw/{split}.{language}.gz", "tok": "tok/{split}.lc.norm.tok.{language}"}
SACREBLEU_TOKENIZE = {"raw": "13a", "tok": "none"}
SCHEDULES = {
    "paper": lambda peak, d_model, warmup, updates: TransformerSchedule.with_peak(peak, d_model, warmup),
    "cosine": lambda peak, d_model, warmup, updates: keras.optimizers.schedules.CosineDecay(
        0.0, max(updates - warmup, 1), warmup_target=peak, warmup_steps=warmup
    ),
}


def corpus_files(data, variant, languages, address=ADDRESS):
    """{split: (source path, target path)}, from a folder or, if `data` is None, downloaded once."""

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


def draw_curves(history, rates, folder):
    """Pictures of loss and perplexity over the target tokens seen, and of each update's learning rate."""
    tokens = [count / 1e6 for count in history["target_tokens"]]
    for quantity in ("loss", "perplexity"):
        names = {"training (with dropout)": quantity, "validation": f"val_{quantity}"}
        plots.learning_curves(
            {name: (tokens, history[key]) for name, key in names.items()},
            "million target tokens seen",
            quantity,
            folder / f"{quantity}.png",
            log_y=quantity == "perplexity",
        )
    plots.learning_rate(rates, folder / "learning_rate.png")


def main(
    output: Annotated[Path, typer.Option(help="Folder for model, export, pictures and result card.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the corpus; downloaded if not given.")] = None,
    variant: Annotated[str, typer.Option(help="raw (cased) or tok (lower-cased, tokenised).")] = "tok",
    source: Annotated[str, typer.Option(help="Source language: en, de or fr.")] = "en",
    target: Annotated[str, typer.Option(help="Target language: en, de or fr.")] = "de",
    preset: Annotated[str, typer.Option(help="A preset of the model.")] = "multi30k_small",
    dropout: Annotated[float | None, typer.Option(help="Instead of the preset's.")] = None,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces of the joint BPE vocabulary.")] = 6000,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 14,
    tokens_per_batch: Annotated[int, typer.Option(help="Padded tokens a batch, on its longer side.")] = 2560,
    schedule: Annotated[str, typer.Option(help="cosine (to zero, for short runs) or paper (inverse root).")] = "cosine",
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    warmup_steps: Annotated[int, typer.Option(help="Updates to the highest learning rate.")] = 600,
    precision: Annotated[str, typer.Option(help="Of training: mixed_bfloat16 or float32.")] = "mixed_bfloat16",
    jit: Annotated[bool, typer.Option(help="Compile the training step with XLA.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights, dropout and shuffling.")] = 1,
):
    """Train on Multi30k, score test_2016 with beam 4, export, and print a result card."""
    for option, value, known in (("--variant", variant, VARIANTS), ("--schedule", schedule, SCHEDULES)):
        if value not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}, got {value!r}.", param_hint=option)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise typer.BadParameter(f"{output} exists and is not an empty folder; choose another.", param_hint="--output")
    console = Console()
    keras.utils.set_random_seed(seed)
    files = corpus_files(data, variant, (source, target))
    samples, test = read_pairs(*files["valid"])[:3], read_pairs(*files["test"])
    tokenizer = Tokenizer.train(files["train"], vocabulary_size)
    train = parallel_corpus(*files["train"], tokenizer, tokens_per_batch=tokens_per_batch, seed=seed)
    valid = parallel_corpus(*files["valid"], tokenizer, tokens_per_batch=tokens_per_batch, shuffle=False)
    console.print(f"training corpus: {train.report}", highlight=False)

    changes = {} if dropout is None else {"dropout": dropout}
    model = Transformer.from_preset(preset, vocabulary_size=tokenizer.vocabulary_size, dtype=precision, **changes)
    updates = epochs * train.report.batches
    rate = SCHEDULES[schedule](peak, model.d_model, warmup_steps, updates)
    model.compile(
        keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9),
        loss=LabelSmoothedCrossEntropy(0.1),
        metrics=[MaskedAccuracy(), Perplexity()],
        jit_compile=jit,
    )
    console.print(f"{preset}: {model.count_params():,} parameters")

    folder = output / "model"
    started = time.monotonic()
    history = model.fit(
        train,
        validation_data=valid,
        epochs=epochs,
        verbose=0,
        shuffle=False,  # the corpus shuffles itself
        callbacks=[
            Throughput(),
            TrainingProgress(console),
            Checkpoint(folder, tokenizer, monitor="val_perplexity"),
            SampleTranslations(Translator(model, tokenizer, beam_size=1), *zip(*samples, strict=True), every=5),
        ],
    ).history
    minutes = (time.monotonic() - started) / 60
    draw_curves(history, [float(rate(step)) for step in range(updates)], output)

    translator = Translator.load(folder, dtype="float32")
    sentences, references = zip(*test, strict=True)
    translations = translator(sentences, progress=True)
    with written_beside(output / "test_2016.translations") as beside:
        beside.write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    scores = evaluate(translations, references, SACREBLEU_TOKENIZE[variant])
    translator.export(output / "saved_model" / "1")
    facts = {
        "corpus": f"Multi30k {variant}, {source}-{target}, {train.report.kept:,} of {train.report.pairs:,} pairs",
        "model": f"{preset}{''.join(f', {k} {v}' for k, v in changes.items())}, {model.count_params():,} parameters",
        "vocabulary": f"joint BPE, {vocabulary_size:,} pieces",
        "learning rate": f"{schedule}, peak {peak:g} after {warmup_steps:,} updates",
        "batch": f"{train.report.target_tokens / train.report.batches:,.0f} target tokens an update",
        "updates": updates,
        "epochs": epochs,
        "precision": f"{precision}, jit {jit}",
        "seed": seed,
        "training time": f"{minutes:.1f} minutes, validation and samples included",
        "validation perplexity": f"{min(history['val_perplexity']):.3f}, a piece, lowest of all epochs",
        "search": f"beam {translator.beam_size}, length penalty {translator.length_penalty}",
        "test_2016": str(scores).replace("\n", "\n  "),
    }
    card = write_card(output, f"Multi30k {variant} {source}-{target}, {preset}", facts)
    console.print(card, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
