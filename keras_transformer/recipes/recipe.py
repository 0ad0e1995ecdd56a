"""Read recipes, and choose one by the number of sentence pairs."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.options import check_options

FOLDER = Path(__file__).parent
# The sentence pairs that each recipe is for.
PAIRS = {
    "pairs_10k": 10_000,
    "pairs_30k": 30_000,
    "pairs_150k": 150_000,
    "pairs_1m": 1_000_000,
    "pairs_10m": 10_000_000,
}


@dataclass(frozen=True)
class Recipe:
    """The settings of a training that depend on the size of the corpus.

    Its file is also a configuration of `keras-transformer train`. The comment at the start of the file is `about`.

    Attributes:
        name: of the file, for example "pairs_30k".
        about: str, where the numbers come from.
        pairs: int, the number of sentence pairs that the recipe is for.
        preset: str, of `Transformer.from_preset`.
        dropout: float, in place of the preset's.
        vocabulary_size: int, the pieces of the joint vocabulary.
        tokens_per_batch: int, of `parallel_corpus`.
        schedule: str, of `schedules.named_schedule`.
        peak: float, the highest learning rate.
        warmup_steps: int, the updates until the highest learning rate.
        epochs: int.
        average: int, how many of the last epochs to average.
    """

    name: str
    about: str
    pairs: int
    preset: str
    dropout: float
    vocabulary_size: int
    tokens_per_batch: int
    schedule: str
    peak: float
    warmup_steps: int
    epochs: int
    average: int

    @property
    def settings(self):
        """The settings of `keras-transformer train`, as a dictionary."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "about", "pairs")}


def recipe_names():
    """The names of the recipes that come with the package, those for fewer pairs first."""
    return list(PAIRS)


def read_recipe(name):
    """Read a recipe that comes with the package.

    Example:
        ```python
        from keras_transformer.recipes import read_recipe

        print(read_recipe("pairs_30k").settings)
        ```

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in PAIRS:
        raise ValueError(f"unknown recipe {name!r}. Known recipes: {', '.join(PAIRS)}.")
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    check_options(values, [field.name for field in fields(Recipe)][3:], path.name)
    about = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return Recipe(name=name, about=about, pairs=PAIRS[name], **values)


def recommended(pairs):
    """The recipe for a first training on a number of sentence pairs.

    There are recipes for 10 thousand, 30 thousand, 150 thousand, 1 million and 10 million pairs. The result is the one
    whose number is nearest, as a ratio. Those for up to 150 thousand pairs were chosen on validation data. The others
    follow published settings.

    Example:
        ```python
        from keras_transformer.recipes import recommended

        recipe = recommended(29_000)
        print(recipe.preset, recipe.vocabulary_size, recipe.epochs)
        ```

    Args:
        pairs: int, at least 1.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: `pairs` is no whole number of at least 1.
    """
    pairs = whole("pairs", pairs)
    return read_recipe(min(PAIRS, key=lambda name: abs(math.log(PAIRS[name] / pairs))))
