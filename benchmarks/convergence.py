"""Learning curves side by side: the effect of initial weights, warm-up and dropout.

    python benchmarks/convergence.py --data DIR --output benchmarks/results/convergence

trains the model multi30k_tiny on Multi30k, once for each variant, with the same order of data and the same seed. Then
it draws the validation perplexity over the number of target tokens seen.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from results import markdown_table, write_json
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
from keras_transformer.training import Throughput, TrainingProgress

PEAK, WARMUP = 2e-3, 500


def schedule(model, peak=PEAK, warmup_steps=WARMUP):
    return TransformerSchedule.with_peak(peak, model.d_model, warmup_steps)


def redraw(model, is_chosen, draw):
    """Give a new value, `draw(shape)`, to every weight for whose path `is_chosen` is true."""
    for weight in model.weights:
        if is_chosen(weight.path):
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
    """Glorot for every kernel."""
    redraw(model, is_kernel, uniform(glorot_limit))


def keras_embeddings(model):
    """U(±0.05) for embeddings, as keras.layers.Embedding has it; Glorot for kernels."""
    glorot(model)
    redraw(model, is_embedding, uniform(lambda shape: 0.05))


def keras_attention(model):
    """Glorot over three axes for attention, as in keras.layers.MultiHeadAttention; Glorot for the other kernels."""
    glorot(model)
    heads = model.get_config()["num_heads"]
    # Keras takes the first axis of a 3-D kernel for a receptive field. A kernel (D, H, K) has the fans D·H and D·K,
    # a kernel (H, K, D) has K·H and D·H.
    redraw(model, is_projection, uniform(lambda s: (6 / (s[0] * heads + s[0] * (s[1] // heads))) ** 0.5))
    redraw(model, is_attention_output, uniform(lambda s: (6 / (s[0] + s[1] * heads)) ** 0.5))


def fairseq(model):
    """Query, key and value with gain 1/√2, as if they were one matrix; Glorot for the others."""
    glorot(model)
    redraw(model, is_projection, uniform(lambda shape: glorot_limit(shape) / 2**0.5))


def marian(model):
    """Glorot for every matrix, for embeddings too."""
    redraw(model, lambda path: is_kernel(path) or is_embedding(path), uniform(glorot_limit))


# name: (changed arguments of the model, a function that redraws its weights, changed arguments of the schedule)
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
    """Train one variant. Return its curves, a dictionary of lists with one value for each epoch."""
    changes, initialize, rates = VARIANTS[name]
    keras.utils.set_random_seed(1)
    model = Transformer.from_preset("multi30k_tiny", vocabulary_size=tokenizer.vocabulary_size, **changes)
    if initialize is not None:
        initialize(model)
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


def draw_curves(folder):
    """Draw all variants whose curves are in `folder`. Return a table of them in Markdown."""
    variants = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    variants.sort(key=lambda variant: list(VARIANTS).index(variant["variant"]))
    curves = {v["variant"]: ([t / 1e6 for t in v["target_tokens"]], v["val_perplexity"]) for v in variants}
    plots.learning_curves(
        curves, "million target tokens seen", "validation perplexity", folder / "convergence.png", log_y=True
    )
    rows = [(v["variant"], f"{v['target_tokens'][-1]:,}", f"{v['val_perplexity'][-1]:.2f}") for v in variants]
    return markdown_table(("variant", "target tokens seen", "validation perplexity"), rows)


def refuse_other_options(path, options):
    """Stop if the curves at `path` were made with other options: one picture must not mix them."""
    curves = json.loads(path.read_text(encoding="utf-8"))
    if any(curves[name] != value for name, value in options.items()):
        raise typer.BadParameter(f"{path} was made with other options than {options}. Choose another --output.")


def main(
    output: Annotated[Path, typer.Option(help="Folder for the picture and the curves, a JSON file for each variant.")],
    data: Annotated[Path | None, typer.Option(help="Folder with Multi30k; downloaded if not given.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 8,
    tokens_per_batch: Annotated[int, typer.Option(help="Tokens of a batch, padding included.")] = 3072,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces of the joint BPE vocabulary.")] = 10_000,
    only: Annotated[list[int] | None, typer.Option(help="Numbers of variants, from 0; all if not given.")] = None,
):
    """Train the variants that have no curves in the folder yet. Then draw all."""
    console = Console()
    files = corpus_files(data, "tok", ("en", "de"))
    tokenizer = Tokenizer.train(files["train"], vocabulary_size)
    options = {"epochs": epochs, "tokens_per_batch": tokens_per_batch, "vocabulary_size": vocabulary_size}
    for number, name in enumerate(VARIANTS):
        path = output / f"{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')}.json"
        if path.exists():
            refuse_other_options(path, options)
        elif not only or number in only:
            console.print(f"variant {number}: {name}")
            curves = train(name, files, tokenizer, epochs, tokens_per_batch, console)
            write_json(path, {"variant": name, **options, **curves})
    print(draw_curves(output))


if __name__ == "__main__":
    typer.run(main)
