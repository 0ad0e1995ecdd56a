"""`tf.data` batches that do not fit the model are refused in one line, with XLA and without."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

BATCH = {"source": np.full((2, 5), 7), "target": np.full((2, 3), 8)}, np.full((2, 3), 9)


def of_unknown_size(*batches):
    specs = tf.nest.map_structure(lambda rows: tf.TensorSpec([None] * rows.ndim, rows.dtype), BATCH)
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=specs)


def dataset(*batches):
    return of_unknown_size(*batches).apply(tf.data.experimental.assert_cardinality(len(batches)))


def with_part(side, rows):
    x, y = BATCH
    return (x, rows) if side == "labels" else ({**x, side: rows}, y)


MISFITS = [
    ("source", np.full((2, 5), 29), r"x\['source'\] must hold ids from 0 to 28, .* vocabulary_size=29, got 29\."),
    ("target", np.full((2, 3), -1), r"x\['target'\] must hold ids from 0 to 28, .*, got -1\."),
    ("labels", np.full((2, 3), 77), r"y must hold ids from 0 to 28, .*, got 77\."),
    (
        "source",
        np.array([[7, 7, 0], [0, 7, 7]]),
        r"x\['source'\] must have padding, .*, got it before a token in row 1\.",
    ),
    (
        "target",
        np.array([[7, 0, 7], [7, 0, 0]]),
        r"x\['target'\] must have padding, .*, got it before a token in row 0\.",
    ),
    ("source", np.full((2, 8), 7), r"x\['source'\] must have at most max_length=7 positions, .*, got 8\."),
    ("labels", np.full((2, 4), 9), r"y must have as many positions as x\['target'\], a label for each, got 4\."),
]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_batch_that_does_not_fit_ends_training_in_one_line(jit_compile):
    model = tiny.make_model(vocabulary_size=29, positions="learned", max_length=7)
    model.compile("sgd", tiny.LabelSmoothedCrossEntropy(), jit_compile=jit_compile)
    for updates, (side, rows, message) in enumerate(MISFITS, start=1):
        with pytest.raises(ValueError, match=f"^{message}$"):
            model.fit(dataset(BATCH, with_part(side, rows)), verbose=0)
        assert model.optimizer.iterations == updates
    with pytest.raises(ValueError, match=f"^{MISFITS[0][2]}$"):
        model.evaluate(dataset(with_part("source", MISFITS[0][1])), verbose=0)
    with pytest.raises(ValueError, match=f"^{MISFITS[0][2].replace('x', 'validation_data', 1)}$"):
        model.fit(dataset(BATCH), validation_data=dataset(with_part("source", MISFITS[0][1])), verbose=0)


def test_known_shapes_are_checked_before_the_first_step():
    model = tiny.make_model(vocabulary_size=29, positions="learned", max_length=4)
    model.compile("sgd", tiny.LabelSmoothedCrossEntropy())
    with pytest.raises(ValueError, match=r"^x\['source'\] must have at most max_length=4 positions, .* got 5\.$"):
        model.fit(tf.data.Dataset.from_tensors(BATCH))


@pytest.mark.parametrize("side", ["source", "target", "labels"])
def test_floats_must_be_whole_ids(side):
    """Keras' own pipelines give floats. A fraction would be cut."""
    model = tiny.make_model(vocabulary_size=29)
    model.compile("sgd", tiny.LabelSmoothedCrossEntropy(), run_eagerly=True)
    rows = np.full((2, 5 if side == "source" else 3), 7.0, "float32")
    model.evaluate(tf.data.Dataset.from_tensors(with_part(side, rows)), verbose=0)
    title = "y" if side == "labels" else rf"x\['{side}'\]"
    for value, shown in ((7.25, r"7\.25"), (np.nan, "nan"), (29.0, "29")):
        rows[1, 2] = value
        with pytest.raises(
            ValueError, match=rf"^{title} must hold ids from 0 to 28, whole numbers, .* got \[?{shown}\]?\.$"
        ):
            model.evaluate(tf.data.Dataset.from_tensors(with_part(side, rows)), verbose=0)


def test_a_dataset_that_keras_distributes_is_checked_by_the_lookup():
    strategy = tiny.two_replicas()
    with strategy.scope():
        model = tiny.make_model(vocabulary_size=29)
        model.compile("sgd", tiny.LabelSmoothedCrossEntropy())
    bad = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(with_part("source", MISFITS[0][1])))
    with pytest.raises(ValueError, match=r"^the data hold the id 29, which the model does not know: indices"):
        model.fit(bad, steps_per_epoch=1, verbose=0)


def test_the_end_of_a_dataset_of_unknown_size_is_no_update():
    model = tiny.make_model(vocabulary_size=29)
    model.compile("sgd", tiny.LabelSmoothedCrossEntropy())
    with pytest.warns(UserWarning, match="ran out of data"):  # Keras cannot know how many steps to expect
        model.fit(of_unknown_size(BATCH, BATCH, BATCH), epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 6
