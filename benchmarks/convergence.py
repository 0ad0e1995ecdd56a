"""Learning curves side by side: what initialisation, warm-up and dropout placement bring a token seen.

    python benchmarks/convergence.py --data DIR --output benchmarks/results/convergence

trains the multi30k_tiny model on Multi30k once for each variant, same data order and seed, and draws
validation perplexity over the target tokens seen.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from translate_multi30k import corpus_files

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    Perplexity,
    Tokenizer,
    Transformer,
    TransformerSchedule,
    parallel_corpus,
    plots,
)
from keras_transformer.files import written_beside
from keras_transformer.training import Throughput, TrainingProgress

PEAK, WARMUP = 2e-3, 500


def schedule(model, peak=PEAK, warmup_steps=WARMUP):
    return TransformerSchedule.with_peak(peak, model.d_model, warmup_steps)


def redraw(model, chosen, draw):
    """Give every weight whose path `chosen` accepts a new value, `draw(shape)`."""
    for weight in model.weights:
        if chosen(weight.path):
            weight.assign(draw(weight.shape))


def uniform(limit):
    rng = np.random.default_rng(1)
    return lambda shape: rng.uniform(-limit(shape), limit(shape), shape)


def glorot_limit(shape):
    return (6 / sum(shape)) ** 0.5


def is_kernel(path):
    return path.endswith("/kernel")


def is_projection(path):
    return any(f"/{name}/kernel" in path for name in ("query", "key", "value"))


def is_attention_output(path):
    return "_attention/output/kernel" in path


def is_embedding(path):
    return path.endswith("embeddings")


def glorot(model):
    """Glorot for every kernel, which was this package's first choice."""
    redraw(model, is_kernel, uniform(glorot_limit))


def keras_embeddings(model):
    """keras.layers.Embedding's U(±0.05), and Glorot."""
    glorot(model)
    redraw(model, is_embedding, uniform(lambda shape: 0.05))


def keras_attention(model):
    """Glorot over three axes, as keras.layers.MultiHeadAttention draws its kernels; Glorot for the others."""
    glorot(model)
    heads = model.get_config()["num_heads"]
    # (D, H, K): Keras takes the first axis of a 3-D kernel for a receptive field: fans D·H and D·K.
    redraw(model, is_projection, uniform(lambda s: (6 / (s[0] * heads + s[0] * (s[1] // heads))) ** 0.5))
    redraw(model, is_attention_output, uniform(lambda s: (6 / (s[0] + s[1] * heads)) ** 0.5))  # (H, K, D): K·H, D·H


def fairseq(model):
    """Query, key and value drawn with gain 1/√2, as one matrix of three; Glorot for the others."""
    glorot(model)
    redraw(model, is_projection, uniform(lambda shape: glorot_limit(shape) / 2**0.5))


def marian(model):
    """Glorot for every matrix, embeddings too."""
    redraw(model, lambda path: is_kernel(path) or is_embedding(path), uniform(glorot_limit))


# name: (changes of the model, what to do with its weights, changes of the schedule)
VARIANTS = {
    "ours: value, output and FFN × (8N)^-1/4": ({}, None, {}),
    "Glorot for every kernel": ({}, glorot, {}),
    "keras.layers.MultiHeadAttention's": ({}, keras_attention, {}),
    "fairseq: query, key, value × 1/√2": ({}, fairseq, {}),
    "Marian: Glorot embeddings": ({}, marian, {}),
    "Keras' embeddings, Glorot": ({}, keras_embeddings, {}),
    "ours, warm-up 100 instead of 500": ({}, None, {"warmup_steps": 100}),
    "ours, dropout 0.1 instead of 0.3": ({"dropout": 0.1}, None, {}),
    "ours, dropout 0.1 in attention and FFN too": ({"attention_dropout": 0.1, "activation_dropout": 0.1}, None, {}),
    "ours, recipe's rate: 5e-3 after 2,000 updates": ({}, None, {"peak": 5e-3, "warmup_steps": 2000}),
    "ours, pre-norm": ({"norm": "pre"}, None, {}),
}


def train(name, files, tokenizer, epochs, tokens_per_batch, console):
    """Curves of one variant: a dictionary of lists, one value an epoch."""
    changes, initialise, rates = VARIANTS[name]
    keras.utils.set_random_seed(1)
    model = Transformer.from_preset("multi30k_tiny", vocabulary_size=tokenizer.vocabulary_size, **changes)
    if initialise is not None:
        initialise(model)
    batches = {"tokens_per_batch": tokens_per_batch}
    corpus = parallel_corpus(*files["train"], tokenizer, seed=1, **batches)
    valid = parallel_corpus(*files["valid"], tokenizer, shuffle=False, **batches)
    optimizer = keras.optimizers.Adam(schedule(model, **rates), beta_2=0.98, epsilon=1e-8, global_clipnorm=25.0)
    model.compile(optimizer, loss=LabelSmoothedCrossEntropy(0.1), metrics=[Perplexity()])
    callbacks = [Throughput(), TrainingProgress(console)]
    history = model.fit(
        corpus, validation_data=valid, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    return {key: history[key] for key in ("target_tokens", "perplexity", "val_perplexity")}


def draw(folder):
    """The picture and the table of all variants whose curves lie in `folder`."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    found.sort(key=lambda result: list(VARIANTS).index(result["variant"]))
    curves = {r["variant"]: ([t / 1e6 for t in r["target_tokens"]], r["val_perplexity"]) for r in found}
    plots.learning_curves(
        curves, "million target tokens seen", "validation perplexity", folder / "convergence.png", log_y=True
    )
    lines = ["| variant | target tokens seen | validation perplexity |", "|---|---|---|"]
    lines += [f"| {r['variant']} | {r['target_tokens'][-1]:,} | {r['val_perplexity'][-1]:.2f} |" for r in found]
    return "\n".join(lines)


def refuse_other(path, options):
    """Curves of other options must not stand in one picture."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if any(found[name] != value for name, value in options.items()):
        raise typer.BadParameter(f"{path} was made with other options than {options}; choose another --output.")


def main(
    output: Annotated[Path, typer.Option(help="Folder for the curves, one JSON file a variant, and the picture.")],
    data: Annotated[Path | None, typer.Option(help="Folder with Multi30k; downloaded if not given.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 8,
    tokens_per_batch: Annotated[int, typer.Option(help="Padded tokens a batch.")] = 3072,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces of the joint BPE vocabulary.")] = 10_000,
    only: Annotated[list[int] | None, typer.Option(help="Numbers of variants, from 0; all if not given.")] = None,
):
    """Train the variants whose curves are not in the folder yet, then draw all."""
    console = Console()
    files = corpus_files(data, "tok", ("en", "de"))
    tokenizer = Tokenizer.train(files["train"], vocabulary_size)
    options = {"epochs": epochs, "tokens_per_batch": tokens_per_batch, "vocabulary_size": vocabulary_size}
    for number, name in enumerate(VARIANTS):
        path = output / f"{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')}.json"
        if path.exists():
            refuse_other(path, options)
        elif not only or number in only:
            console.print(f"variant {number}: {name}")
            curves = train(name, files, tokenizer, epochs, tokens_per_batch, console)
            with written_beside(path) as beside:
                beside.write_text(json.dumps({"variant": name, **options, **curves}, indent=1) + "\n", encoding="utf-8")
    console.print(draw(output))


if __name__ == "__main__":
    typer.run(main)
