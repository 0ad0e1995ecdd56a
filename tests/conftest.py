"""The same machine for every test: a CPU, two logical devices, a fixed seed and the same dtype policy."""

import gc
import os
from pathlib import Path

gc.set_threshold(10_000, 10, 10)  # before the imports, which keep all that they make
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Python runs `sitecustomize.py` of this folder where a test starts another process.
STARTUP = str(Path(__file__).parent / "support" / "startup")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (STARTUP, os.environ.get("PYTHONPATH"))))
# No test cuts the power. A writer that waits for the disk can wait for a minute while other tests write much.
os.fsync = lambda descriptor: None

import keras  # noqa: E402
import pytest  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # This must come before any other use of TensorFlow: the first use fixes the devices.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    # It counts calls and traces of the whole process, so that this warning depends on the order of the tests.
    tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())
elif keras.backend.backend() == "jax":
    import one_context  # noqa: F401
elif keras.backend.backend() == "torch":
    import torch

    torch.set_num_threads(1)  # with more, they wait for each other in a loop, which takes three times as long


def pytest_collection_finish():
    """Keep the garbage collector away from what the imports made. Graphs and quantization start it all the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_start():
    """Seed Python, NumPy and the backend before each test. Restore the dtype policy after it."""
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def digits_translator():
    """A translator with an untrained model. The import is here because the core's tests run without TensorFlow."""
    from tiny_exports import tiny_translator

    return tiny_translator("bpe")


@pytest.fixture(scope="session")
def digits_export():
    """The SavedModel of `digits_translator`."""
    from tiny_exports import tiny_export

    return tiny_export("bpe").path


@pytest.fixture(scope="module")
def running_double(digits_export):
    """The test double of TensorFlow Serving with `digits_export`. The fixture `double` uses it."""
    import serving_double

    batching = serving_double.Batching(max_size=13, wait=0.02, allowed=(1, 2, 3, 4, 8, 13))
    with serving_double.Double({"digits": {7: digits_export}}, batching) as double:
        yield double


@pytest.fixture
def double(running_double, monkeypatch):
    """The test double, reset for each test. Clients do not sleep: they append their pauses to `pauses`."""
    import serving_client

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running_double.pauses = []
    monkeypatch.setattr(serving_client, "sleep", running_double.pauses.append)
    served = running_double.models["digits"][7]
    running_double.requests, served.runs, served.sizes = 0, 0, []
    yield running_double
    assert not running_double.faults


# The files that take longest, by the clock. They begin first: at the end, no process waits long for another.
LONG_FILES = (
    "test_rooms.py",
    "test_notebooks.py",
    "test_commands.py",
    "test_export_signatures.py",
    "test_ctranslate2_parity.py",
    "test_export_precision.py",
    "test_workers.py",
    "test_quickstart.py",
    "test_multi30k_example.py",
    "test_pages.py",
    "test_export_session.py",
    "test_wmt14.py",
)


def pytest_collection_modifyitems(items):
    """Put the long files first. On other backends than TensorFlow, run each test with its first parameters only.

    The same code runs there, and JAX compiles each model, layer and search again, which takes long. A test that is
    about the backend itself says `@pytest.mark.each_case`.
    """
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONG_FILES)))
    if keras.backend.backend() == "tensorflow":
        return
    seen, kept = set(), []
    for item in items:
        name = (item.path, item.originalname)
        if name not in seen or item.get_closest_marker("each_case"):
            kept.append(item)
        seen.add(name)
    items[:] = kept
