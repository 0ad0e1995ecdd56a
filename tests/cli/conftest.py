"""Commands run in the process of the tests."""

import pytest

from keras_transformer_cli import training


@pytest.fixture(autouse=True)
def without_determinism(monkeypatch):
    """Training is deterministic by default. That would hold for all later tests of the process, and exclude XLA."""
    monkeypatch.setattr(training, "make_deterministic", lambda: None)
