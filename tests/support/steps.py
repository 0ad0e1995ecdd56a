"""Five steps with uneven batches on any strategy, for several tests. As a program, it runs on four replicas.

    python tests/support/steps.py FOLDER

compares them with the result that `write` has written into the folder.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity

LENGTHS = [  # of 8 rows; rows 4 to 7 of the second batch have no token, and only the last row of the third has one
    ([7, 6, 2, 1, 3, 4, 2, 0], [9, 8, 1, 2, 3, 3, 1, 0]),
    ([5, 5, 1, 1, 0, 0, 0, 0], [1, 7, 1, 1, 0, 0, 0, 0]),
    ([0, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 3]),
    ([3, 8, 2, 2, 4, 4, 4, 4], [9, 9, 1, 3, 5, 5, 5, 5]),
    ([1, 1, 1, 1, 1, 1, 1, 9], [1, 1, 1, 1, 1, 1, 1, 11]),
]


def batches(one_shape=False):
    rng = np.random.default_rng(3)
    found = [tiny.random_batch(rng, *lengths) for lengths in LENGTHS]
    if one_shape:
        found = [tf.nest.map_structure(lambda rows: np.pad(rows, [(0, 0), (0, 11 - rows.shape[1])]), b) for b in found]
    return found


def dataset(one_shape=False):
    if one_shape:
        stacked = tf.nest.map_structure(lambda *rows: np.stack(rows), *batches(one_shape))
        return tf.data.Dataset.from_tensor_slices(stacked)
    spec = tf.TensorSpec((None, None), tf.int32)
    signature = ({"source": spec, "target": spec}, spec)
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(len(LENGTHS)))


def trained(
    strategy,
    *,
    make=None,
    loss=None,
    rate=0.003,
    clip=None,
    tie_embeddings="all",
    epochs=2,
    one_shape=False,
    valid=True,
    **options,
):
    """A model after `epochs` of five steps, and the logs of `fit`. `valid` also evaluates it after each epoch."""
    keras.utils.set_random_seed(5)
    with strategy.scope():
        model = tiny.make_model(tie_embeddings=tie_embeddings)
        if make is not None:
            model = make.from_config(model.get_config())
            keras.utils.set_random_seed(5)
            model.set_weights(tiny.make_model(tie_embeddings=tie_embeddings).get_weights())
        optimizer = keras.optimizers.Adam(rate, global_clipnorm=clip)
        options = {"log_gradient_norm": True, **options}
        metrics = [MaskedAccuracy(), Perplexity()]
        model.compile(optimizer, loss or LabelSmoothedCrossEntropy(0.1), metrics=metrics, **options)
    data = dataset(one_shape)
    validation_data = data if valid else None
    return model, model.fit(data, validation_data=validation_data, epochs=epochs, verbose=0, shuffle=False).history


def compare(found, expected):
    """Check that weights and logs are equal to 1e-5."""
    for weight, goal in zip(found[0].get_weights(), expected[0].get_weights(), strict=True):
        np.testing.assert_allclose(weight, goal, rtol=1e-5, atol=2e-6)
    assert sorted(found[1]) == sorted(expected[1])
    for name, values in expected[1].items():
        assert found[1][name] == pytest.approx(values, rel=1e-5), name


def write(result, folder):
    """Write a result of `trained`, without the logs of its validation."""
    model, logs = result
    model.save_weights(folder / "whole.weights.h5")
    logs = {name: values for name, values in logs.items() if not name.startswith("val_")}
    (folder / "logs.json").write_text(json.dumps(logs))


def read(folder):
    """What `write` has written."""
    model = tiny.make_model()
    model.load_weights(folder / "whole.weights.h5")
    return model, json.loads((folder / "logs.json").read_text())


def main(folder):
    devices = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    four = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(4)])
    compare(trained(four, accumulate_steps=2, valid=False), read(folder))
    print(four.num_replicas_in_sync, "replicas agree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
