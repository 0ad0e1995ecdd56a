"""For `test_jax_replicas.py`: the steps of `steps.py` on one and two devices, with and without micro-batches."""

import contextlib

import keras
import one_context  # noqa: F401
import pytest
import steps

from keras_transformer.backend.replicas import batch_devices


class Whole:
    """Takes the place of a strategy."""

    scope = staticmethod(contextlib.nullcontext)


def trained(devices, **options):
    distribution = None if devices == 1 else keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    keras.distribution.set_distribution(distribution)
    return steps.trained(Whole, one_shape=True, **options)


def main():
    assert len(keras.distribution.list_devices()) == 2
    expected = trained(1)
    for devices, parts in ((1, 8), (2, 1), (2, 2)):
        steps.compare(trained(devices, accumulate_steps=parts), expected)
        assert batch_devices() == devices
    with pytest.raises(ValueError, match=r"accumulate_steps=3 must divide the rows of a batch, got 8\."):
        trained(1, accumulate_steps=3)
    print(len(keras.distribution.list_devices()), "devices agree")


if __name__ == "__main__":
    main()
