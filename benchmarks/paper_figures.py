"""Figures 3 to 5 of "Attention Is All You Need" from a trained model and sentences of ours, and its learning rates.

    python benchmarks/paper_figures.py runs/en_de --output pictures

The paper shows the self-attention of the encoder's layer 5 of 6: here the last but one, or --layer. Each figure is a
PNG and an SVG:

- figure_3: to whom one word looks in each head, for example to a word far away with which it belongs;
- figure_4_head: everything that the head does which looks most sharply from a pronoun at another word;
- figure_4_word: to whom the pronoun looks in the two sharpest heads;
- figure_5: the two heads that differ most;
- learning_rates: section 5.3 for the base model and for the big one.

The pieces of a word are joined. END and punctuation do not count as something that a pronoun stands for.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from keras_transformer import TransformerSchedule, Translator, plots
from keras_transformer.inputs.paths import check_target

FAR = "My brother is making the way from the station to the old church much more difficult."
PRONOUN = "The tree is very old, but its leaves are still green."
WARMUP_STEPS = 4000
WIDTHS = {"base, d_model 512": 512, "big, d_model 1024": 1024}


def encoder_attention(translator, sentence, layer):
    """The self-attention of an encoder layer.

    Args:
        translator: a `Translator`.
        sentence: a text of its source language.
        layer: from 1. None is the last but one, or the only one.

    Returns:
        The weights (H, W, W) of W words, the last of which is END, and the words.

    Raises:
        ValueError: there is no such layer.
    """
    pieces, _, weights = translator.attention(sentence, "")
    layers = weights["encoder"]  # (N, H, S, S)
    number = max(1, len(layers) - 1) if layer is None else layer
    if not 1 <= number <= len(layers):
        raise ValueError(f"layer must be from 1 to {len(layers)}, the encoder's layers, got {number}.")
    joined, words, _ = plots.join_pieces(layers[number - 1], pieces, pieces)
    return joined, words


def place_of(word, words, option):
    """The number of a word in a sentence.

    Raises:
        ValueError: the sentence has no such word.
    """
    if word not in words:
        raise ValueError(f"{option}={word!r} is no word of its sentence. The words are: {' '.join(words)}.")
    return words.index(word)


def long_distance(weights, words, place, paths):
    """Figure 3: to whom the word at `place` looks, in each head."""
    for path in paths:
        plots.attention_lines(weights, words, words, path, rows=[place])


def anaphora(weights, words, place, head_paths, word_paths):
    """Figure 4: the head that looks most sharply from a pronoun at another word, and the two sharpest ones."""
    no_words = [number for number, word in enumerate(words) if not any(map(str.isalnum, word))]
    heads = plots.sharpest_heads(weights, place, min(2, len(weights)), {place, len(words) - 1, *no_words})
    names = [f"head {head + 1}" for head in heads]
    for path in head_paths:
        plots.attention_lines(weights[heads[:1]], words, words, path, names=names[:1])
    for path in word_paths:
        plots.attention_lines(weights[heads], words, words, path, rows=[place], names=names)
    return heads


def two_heads(weights, words, paths):
    """Figure 5: the two heads that differ most, each in a panel."""
    heads = plots.most_different_heads(weights)
    for path in paths:
        names = [f"head {head + 1}" for head in heads]
        plots.attention_lines(weights[list(heads)], words, words, path, names=names, separate=True)
    return heads


def learning_rates(paths, steps=20_000):
    """The learning rates of section 5.3 for the base model and the big one, from step 1."""
    counted = np.arange(steps)  # Keras counts from 0
    rates = {name: np.array(TransformerSchedule(width, WARMUP_STEPS)(counted)) for name, width in WIDTHS.items()}
    for path in paths:
        plots.learning_rate(rates, path)
    return rates


def main(
    model: Annotated[Path, typer.Argument(help="Training folder.")],
    output: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    layer: Annotated[
        int | None, typer.Option(help="Layer of the encoder, from 1.", show_default="last but one")
    ] = None,
    far: Annotated[str, typer.Option(help="Sentence of figures 3 and 5.")] = FAR,
    word: Annotated[str, typer.Option(help="Word of figure 3, whose attention is shown.")] = "making",
    pronoun_sentence: Annotated[str, typer.Option(help="Sentence of figure 4.")] = PRONOUN,
    pronoun: Annotated[str, typer.Option(help="Word of figure 4.")] = "its",
):
    """Draw all figures."""
    folder = check_target(output, "folder", "output", inside=True)
    translator = Translator.load(model, dtype="float32")
    weights, words = encoder_attention(translator, far, layer)
    weights_of_pronoun, words_of_pronoun = encoder_attention(translator, pronoun_sentence, layer)
    place, pronoun_place = place_of(word, words, "word"), place_of(pronoun, words_of_pronoun, "pronoun")

    def paths(name):
        return [folder / f"{name}{ending}" for ending in (".png", ".svg")]

    long_distance(weights, words, place, paths("figure_3"))
    heads = anaphora(
        weights_of_pronoun, words_of_pronoun, pronoun_place, paths("figure_4_head"), paths("figure_4_word")
    )
    print(f"figure 4: the sharpest heads of {pronoun!r} are {' and '.join(str(head + 1) for head in heads)}")
    if len(weights) > 1:
        first, second = two_heads(weights, words, paths("figure_5"))
        print(f"figure 5: heads {first + 1} and {second + 1} differ most")
    learning_rates(paths("learning_rates"))


if __name__ == "__main__":
    typer.run(main)
