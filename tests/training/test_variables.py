"""Stored arrays find their variables by path, however Keras numbers names in this process."""

import numpy as np
import pytest

from keras_transformer.training.variables import canonical_paths, match_arrays, numbered_repeats, slot_paths


def test_numbers_that_are_shifted_give_the_same_paths():
    first = ["embedding/kernel", "seed_generator/state", "seed_generator_1/state", "layer_0/seed_generator_2/state"]
    later = ["embedding/kernel", "seed_generator_7/state", "seed_generator_9/state", "layer_0/seed_generator_10/state"]
    assert canonical_paths(first) == canonical_paths(later)
    assert len(set(canonical_paths(first))) == 4


def test_numbers_are_compared_as_numbers_and_the_order_of_the_list_does_not_matter():
    paths = [f"layer_{number}/kernel" for number in (10, 2, 9)]
    assert canonical_paths(paths) == canonical_paths(["layer_5/kernel", "layer_3/kernel", "layer_4/kernel"])
    assert canonical_paths(paths) != canonical_paths(["layer_5/kernel", "layer_4/kernel", "layer_3/kernel"])


def test_a_number_is_ranked_among_all_that_follow_its_name():
    """The second layer alone has a bias: it is not taken for the first layer's."""
    kernels = ["layer_0/kernel", "layer_1/kernel"]
    assert canonical_paths([*kernels, "layer_1/bias"])[-1] != canonical_paths([*kernels, "layer_0/bias"])[-1]


@pytest.mark.parametrize(("one", "other"), [("a/kernel", "a/kernel"), ("layer_1/kernel", "layer_01/kernel")])
def test_variables_that_cannot_be_told_apart_are_named(one, other):
    with pytest.raises(ValueError, match=f"the variables {one} and {other} cannot be told apart"):
        canonical_paths([one, "b/kernel", other])


def test_repeated_paths_are_numbered_in_their_order():
    assert numbered_repeats(["a", "b", "a", "a"]) == ["a", "b", "a/1", "a/2"]


def test_the_slots_of_an_optimizer_have_the_paths_of_their_variables():
    model = ["dense_7/kernel", "dense_7/kernel_a", "encoder/layer_0/dense_8/kernel"]
    slots = ["adam_3/iteration", "adam_3/dense_7_kernel_momentum", "adam_3/dense_7_kernel_a_velocity"]
    nested = "loss_scale_optimizer/adam_3/encoder_layer_0_dense_8_kernel_momentum"
    assert slot_paths([*slots, nested, "adam_3/other_kernel_velocity"], model) == [
        "adam_3/iteration",
        "adam_3/dense_7/kernel_momentum",
        "adam_3/dense_7/kernel_a_velocity",
        "loss_scale_optimizer/adam_3/encoder/layer_0/dense_8/kernel_momentum",
        "adam_3/other_kernel_velocity",
    ]


PATHS = ["dropout/state", "dropout_1/state", "layer_0/kernel", "layer_1/kernel"]
ARRAYS = [np.full((2, 3), number) for number in range(4)]
SHAPES = [(2, 3)] * 4


def test_arrays_in_another_order_are_put_back():
    order = [2, 0, 3, 1]
    shifted = ["dropout_4/state", "dropout_6/state", "layer_0/kernel", "layer_1/kernel"]
    matched = match_arrays([shifted[at] for at in order], [ARRAYS[at] for at in order], PATHS, SHAPES)
    assert [array[0, 0] for array in matched] == [0, 1, 2, 3]


def test_arrays_without_paths_are_taken_in_their_order():
    assert [array[0, 0] for array in match_arrays(None, ARRAYS, PATHS, SHAPES)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="the file has 3 arrays and the model has 4 variables"):
        match_arrays(None, ARRAYS[:3], PATHS, SHAPES)


@pytest.mark.parametrize(
    ("stored", "arrays", "message"),
    [
        (PATHS[:3], ARRAYS[:3], r"the file lacks layer_1/kernel"),
        ([*PATHS, "layer_2/kernel"], [*ARRAYS, ARRAYS[0]], r"the model lacks layer_2/kernel"),
        ([*PATHS[:3], "layer_1/bias"], ARRAYS, r"the file lacks layer_1/kernel; the model lacks layer_1/bias"),
        (
            PATHS,
            [*ARRAYS[:3], np.zeros((3, 2))],
            r"layer_1/kernel has the shape \(3, 2\) in the file and \(2, 3\) in the model",
        ),
        (None, [*ARRAYS[:3], np.zeros((3, 2))], r"layer_1/kernel has the shape \(3, 2\) in the file and"),
    ],
)
def test_what_does_not_match_is_named(stored, arrays, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        match_arrays(stored, arrays, PATHS, SHAPES)


def test_at_most_five_variables_are_named():
    paths = [f"layer_{number}/kernel" for number in range(8)]
    message = r"^the file lacks layer_0/kernel; .*; the file lacks layer_4/kernel; and 3 more$"
    with pytest.raises(ValueError, match=message):
        match_arrays([], [], paths, [(1,)] * 8)
