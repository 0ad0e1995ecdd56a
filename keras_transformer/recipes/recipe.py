"""Read recipes, and choose one by the number of sentence pairs."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.options import check_options, nearest

FOLDER = Path(__file__).parent
# The sentence pairs that each recipe for a first training is for.
PAIRS = {
    "pairs_10k": 10_000,
    "pairs_30k": 30_000,
    "pairs_150k": 150_000,
    "pairs_1m": 1_000_000,
    "pairs_10m": 10_000_000,
}
# Recipes that repeat a published training, and the pairs that it had.
PUBLISHED = {
    "paper": 4_500_000,
    "paper_big": 4_500_000,
    "paper_en_fr": 36_000_000,
    "paper_big_en_fr": 36_000_000,
    "t2t_v1": 4_500_000,
    "t2t_v2": 4_500_000,
    "t2t_v3": 4_500_000,
    "multi30k_tiny": 29_000,
}
# Recipes for students that learn from the translations of a teacher, and the pairs that both had.
STUDENTS = {"student_30k": 29_000}
# Recipes for trees instead of translations, and the trees that they were chosen on.
PARSING = {"parsing_small": 19_000}


@dataclass(frozen=True)
class Recipe:
    """The settings of a whole training, from the subwords to the search.

    Its file is also a configuration of `keras-transformer train`. The comment at the start of the file is `about`.

    Attributes:
        name: of the file, for example "pairs_30k".
        about: str, where the numbers come from.
        pairs: int, the number of sentence pairs that the recipe is for; of sentences with their trees for a parser.
        preset: str, of `Transformer.from_preset`.
        dropout: float, in place of the preset's.
        label_smoothing: float, ε of `LabelSmoothedCrossEntropy`.
        subwords: str, the kind of `Tokenizer.train`.
        vocabulary_size: int, the pieces of the joint vocabulary.
        tokens_per_batch: int, of `parallel_corpus`.
        schedule: str, of `schedules.named_schedule`.
        peak: float, the highest learning rate.
        warmup_steps: int, the updates until the highest learning rate.
        beta_2, epsilon: floats, of Adam.
        average: int, how many of the last weights to average.
        beam_size: int, of the search.
        length_penalty: float, α of the search.
        length_normalization: str, "gnmt" or "power", of the search.
        max_extra_length: int, the tokens that a translation may have more than its source.
        epochs: int, or None where `steps` says how long to train.
        steps: int, the updates of the training, or None.
        average_every: int, the updates between two of the averaged weights. None averages those of whole epochs.
        patience: int, end after so many epochs without a better validation, or None.
        clip_norm: float, the longest gradient over all weights together, or None.
        model: {name: value}, other arguments of `Transformer` in place of the preset's, or None.
    """

    name: str
    about: str
    pairs: int
    preset: str
    dropout: float
    label_smoothing: float
    subwords: str
    vocabulary_size: int
    tokens_per_batch: int
    schedule: str
    peak: float
    warmup_steps: int
    beta_2: float
    epsilon: float
    average: int
    beam_size: int
    length_penalty: float
    length_normalization: str
    max_extra_length: int
    epochs: int | None = None
    steps: int | None = None
    average_every: int | None = None
    patience: int | None = None
    clip_norm: float | None = None
    model: dict | None = None

    @property
    def settings(self):
        """The settings of `keras-transformer train`, as a dictionary. `model` is a list of NAME=VALUE."""
        values = {name: value for name, value in asdict(self).items() if name not in ("name", "about", "pairs")}
        return values | {"model": self.model and [f"{name}={value}" for name, value in self.model.items()]}


def recipe_names():
    """The names of the recipes that come with the package: first those of `recommended`, for fewer pairs first."""
    return [*PAIRS, *PUBLISHED, *STUDENTS, *PARSING]


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
    if not isinstance(name, str) or name not in recipe_names():
        hint = nearest(name, recipe_names())
        raise ValueError(f"unknown recipe {name!r}.{hint} Known recipes: {', '.join(recipe_names())}.")
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    check_options(values, [field.name for field in fields(Recipe)][3:], path.name)
    about = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return Recipe(name=name, about=about, pairs=(PAIRS | PUBLISHED | STUDENTS | PARSING)[name], **values)


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
