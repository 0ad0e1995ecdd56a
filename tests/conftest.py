"""One machine for every test: CPU, two logical devices, a fixed seed, the dtype policy put back."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Before anything else touches TensorFlow: its devices are fixed by their first use.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


@pytest.fixture(autouse=True)
def same_start():
    """Seed Python, NumPy and the backend before each test; undo its dtype policy after it."""
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def pytest_collection_modifyitems(items):
    """Off TensorFlow, each test of search once: the same code runs there, and JAX compiles every search anew."""
    if keras.backend.backend() == "tensorflow":
        return
    seen, kept = set(), []
    for item in items:
        name = (item.path, item.originalname)
        if name not in seen or (not hasattr(item.module, "Scripted") and not hasattr(item.module, "script")):
            kept.append(item)
        seen.add(name)
    items[:] = kept
