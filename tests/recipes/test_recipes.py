"""Recipes: the nearest number of pairs is chosen, the files are configurations of the command, presets exist."""

import math

import pytest
import typer

from keras_transformer import Transformer
from keras_transformer.inputs.options import check_arguments
from keras_transformer.presets import PRESETS
from keras_transformer.recipes import read_recipe, recipe_names, recommended
from keras_transformer.recipes.recipe import PAIRS, PUBLISHED
from keras_transformer.schedules import SCHEDULES
from keras_transformer_cli.app import app
from keras_transformer_cli.config import read_yaml


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_a_configuration_of_the_command_and_can_be_meant(name):
    from keras_transformer.recipes.recipe import FOLDER

    recipe = read_recipe(name)
    options = {parameter.name for parameter in typer.main.get_command(app).commands["train"].params}
    given = {name for name, value in recipe.settings.items() if value is not None}
    assert set(read_yaml(FOLDER / f"{name}.yaml")) == given and set(recipe.settings) <= options
    assert recipe.preset in PRESETS and recipe.schedule in SCHEDULES and recipe.about.endswith(".")
    assert 0 <= recipe.dropout < 1 and 1e-4 <= recipe.peak <= 5e-3
    assert (recipe.epochs is None) != (recipe.steps is None)
    assert recipe.average * (recipe.average_every or 1) <= (recipe.epochs or recipe.steps)
    check_arguments(Transformer, recipe.model or {}, name)


def test_the_published_recipes_have_the_numbers_of_their_sources():
    recipes = {name: read_recipe(name) for name in PUBLISHED}
    for name, recipe in recipes.items():
        if name.startswith(("paper", "t2t")):
            d_model = PRESETS[recipe.preset]["d_model"]
            factor = 2 if name in ("t2t_v2", "t2t_v3") else 1
            assert recipe.peak == pytest.approx(factor * (d_model * recipe.warmup_steps) ** -0.5)
            assert (recipe.beam_size, recipe.length_penalty, recipe.label_smoothing) == (4, 0.6, 0.1)
            minutes = {100_000: 12 * 60, 300_000: 3.5 * 24 * 60}[recipe.steps]
            assert recipe.average_every == round(recipe.steps / minutes * 10)
    assert (recipes["paper_big"].average, recipes["paper"].average) == (20, 5)
    assert {name: recipe.beta_2 for name, recipe in recipes.items() if recipe.beta_2 != 0.98} == {"t2t_v3": 0.997}
    assert recipes["t2t_v2"].settings["model"] == ["norm=pre", "attention_dropout=0.1", "activation_dropout=0.1"]
    tiny = recipes["multi30k_tiny"]
    assert (tiny.peak, tiny.warmup_steps, tiny.steps, tiny.average, tiny.clip_norm) == (5e-3, 2000, 8000, 10, 25)


def test_all_files_are_listed_and_larger_corpora_come_later():
    from keras_transformer.recipes.recipe import FOLDER

    assert sorted(recipe_names()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    pairs = [read_recipe(name).pairs for name in PAIRS]
    assert pairs == sorted(pairs)
    sizes = [read_recipe(name).vocabulary_size for name in PAIRS]
    assert sizes == sorted(sizes)


def test_the_nearest_number_of_pairs_counts_as_a_ratio():
    for name in PAIRS:
        assert recommended(read_recipe(name).pairs).name == name
    middle = math.sqrt(10_000 * 30_000)
    assert [recommended(int(middle) + step).name for step in (-1, 2)] == ["pairs_10k", "pairs_30k"]
    assert recommended(1).name == "pairs_10k" and recommended(10**9).name == "pairs_10m"
    for wrong in (0, 2.5, "30k", True):
        with pytest.raises(ValueError, match="pairs must be a whole number of at least 1, got"):
            recommended(wrong)
    known = "Known recipes: pairs_10k, pairs_30k"
    with pytest.raises(ValueError, match=rf"^unknown recipe '30k'\. Did you mean 'pairs_30k'\? {known}"):
        read_recipe("30k")


def test_a_name_that_is_no_string_is_unknown():
    known = "Known recipes: pairs_10k, "
    with pytest.raises(ValueError, match=rf"^unknown recipe \['pairs_10k'\]\. Did you mean 'pairs_10k'\? {known}"):
        read_recipe(["pairs_10k"])
