"""The harnesses with which Keras and keras-hub test their own layers and models. They have no public names."""

import contextlib
import sys
import types

from keras.src.testing import TestCase  # with that of keras-hub the only private imports of the conformance tests
from keras.src.utils import traceback_utils


@contextlib.contextmanager
def keras_test_case():
    """Keras' own test case, whose methods check layers. It ends as one of its tests does."""
    yield from _running(TestCase("run_layer_test"))


@contextlib.contextmanager
def hub_test_case():
    """The test case of keras-hub. Its file imports `grain`, which only its tests of images and texts need."""
    missing = "grain" not in sys.modules
    if missing:
        sys.modules["grain"] = types.ModuleType("grain")
    try:
        from keras_hub.src.tests.test_case import TestCase as HubTestCase
    finally:
        if missing:
            del sys.modules["grain"]
    yield from _running(HubTestCase("run_layer_test"))


def _running(case):
    was_filtering = traceback_utils.is_traceback_filtering_enabled()
    case.setUp()
    try:
        yield case
    finally:
        case.doCleanups()
        if was_filtering:
            traceback_utils.enable_traceback_filtering()
