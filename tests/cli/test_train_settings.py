"""Settings of a training: length, warm-up, the recipe's values, and whether the memory is enough."""

import pytest
import typer

from keras_transformer import Tokenizer
from keras_transformer.presets import count_parameters, preset, training_costs
from keras_transformer.recipes import read_recipe
from keras_transformer_cli.app import app
from keras_transformer_cli.early_checks import check_segmentations, check_tokenizer_options
from keras_transformer_cli.memory import GIB, check_memory
from keras_transformer_cli.settings import epochs, warmup_steps, with_one_length, with_recipe


def given(**values):
    """The options of the command, as its parser gives them when only some are typed."""
    options = typer.main.get_command(app).commands["train"].params
    defaults = {parameter.name: parameter.default for parameter in options}
    return {**defaults, "model": [], **values}


def test_a_recipe_fills_what_is_not_given_and_only_that():
    settings = with_recipe(given(recipe="t2t_v3", dropout=0.2), pairs=None)
    recipe = read_recipe("t2t_v3").settings
    assert settings["dropout"] == 0.2 and settings["warmup_steps"] is None
    same = set(recipe) - {"dropout", "warmup_steps"}
    assert {name: settings[name] for name in same} == {name: recipe[name] for name in same}
    assert with_recipe(given(recipe="t2t_v3", model=["norm=post"]), pairs=None)["model"] == ["norm=post"]
    assert with_recipe(given(), pairs=lambda: 31_000)["recipe"] == "pairs_30k"


@pytest.mark.parametrize(
    ("name", "typed", "length"),
    [("paper", {}, (None, 100_000)), ("paper", {"epochs": 3}, (3, None)), ("pairs_10k", {"steps": 7}, (None, 7))],
)
def test_a_run_has_either_epochs_or_steps(name, typed, length):
    settings = with_recipe(given(recipe=name, **typed), pairs=None)
    assert (settings["epochs"], settings["steps"]) == length


def test_more_steps_of_an_earlier_run_replace_its_epochs():
    earlier = {"epochs": 5, "steps": None}
    assert with_one_length({"epochs": None, "steps": 90}, {**earlier, "steps": 90}) == {"epochs": None, "steps": 90}


def test_epochs_reach_the_steps_and_the_warmup_shrinks_with_a_shorter_run():
    assert [epochs({"epochs": None, "steps": steps}, 66) for steps in (1, 66, 67, 8000)] == [1, 1, 2, 122]
    assert epochs({"epochs": 7, "steps": None}, 66) == 7
    assert warmup_steps("multi30k_tiny", 122 * 66) == 2000
    assert warmup_steps("multi30k_tiny", 7999) == 799
    assert warmup_steps("pairs_30k", 100_000) == 600 and warmup_steps("pairs_30k", 5) == 1


def test_a_training_that_does_not_fit_the_memory_is_refused_with_the_numbers():
    arguments = preset("paper_big") | {"vocabulary_size": 37_000}
    settings = {"preset": "paper_big", "tokens_per_batch": 25_000, "accumulate_steps": 1, "precision": "float32"}
    shapes = [(13, 11, 1900), (97, 101, 247)]
    costs = max(
        (training_costs(arguments, sentences=rows, source_length=s, target_length=t) for s, t, rows in shapes),
        key=lambda each: each.bytes,
    )
    check_memory(arguments, settings, shapes, costs.bytes)
    with pytest.raises(ValueError, match="needs at least") as error:
        check_memory(arguments, settings, shapes, costs.bytes - 1)
    assert str(error.value) == (
        f"preset=paper_big with tokens_per_batch=25000 needs at least {costs.bytes / GIB:.1f} GiB of memory: 3.2 for "
        f"{count_parameters(**arguments):,} parameters with their gradients and Adam's means, "
        f"{costs.activation_bytes / GIB:.1f} for a batch. The device has {costs.bytes / GIB:.1f} GiB. Give a smaller "
        "--preset, fewer --tokens-per-batch, or --accumulate-steps 2 or more."
    )
    check_memory(arguments, settings | {"accumulate_steps": 2}, shapes, costs.bytes - 1)
    check_memory(arguments, settings | {"precision": "mixed_bfloat16"}, shapes, costs.bytes - 1)
    with pytest.raises(ValueError, match=r"Give a smaller --preset or --vocabulary-size\.$"):
        check_memory(arguments, settings, shapes, costs.weight_bytes)


@pytest.mark.parametrize(
    ("subwords", "number", "alpha", "message"),
    [
        ("bpe", 1, 0.1, "segmentation_alpha=0.1 is of drawn segmentations, and segmentations=1 is the usual one"),
        ("bpe", 5, 1.5, "segmentation_alpha=1.5 must be above 0 and at most 1 for a tokenizer of kind 'bpe'"),
        ("unigram", 5, 0.0, "segmentation_alpha=0.0 must be a number above 0 for a tokenizer of kind 'unigram'"),
    ],
)
def test_segmentations_that_cannot_be_drawn_are_refused_early(subwords, number, alpha, message):
    settings = given(subwords=subwords, segmentations=number, segmentation_alpha=alpha)
    with pytest.raises(ValueError, match=message):
        check_segmentations(settings)
    check_segmentations({**settings, "segmentations": 5, "segmentation_alpha": None})


def test_the_kind_of_a_given_tokenizer_says_which_alpha_is_allowed(tmp_path):
    path = tmp_path / "unigram.model"
    Tokenizer.train(["low lower", "lowest"], 40, "unigram", hard_vocab_limit=False, byte_fallback=False).save(path)
    settings = given(tokenizer=str(path), segmentations=2, segmentation_alpha=3.0)
    check_segmentations(settings, check_tokenizer_options(settings, explicit=[]))
