"""Warm-up records are read and run as a server does."""

import sys

import hand_made
import numpy as np
import pytest

from keras_transformer.export.checks.saved_model import read_saved_model
from keras_transformer.export.server.warmup import write_warmup

SENTENCES = ["ein haus", "zwölf 🙂"]
FILE = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return read_saved_model(hand_made.save_all(tmp_path_factory.mktemp("en_de") / "1"))


def test_every_record_is_answered(contents):
    assert write_warmup(contents, SENTENCES, batch_sizes=[3, 1], translations=["das", "zwei"]) == 6
    assert read_saved_model(contents.path).num_warmup_records == 6
    answered = list(hand_made.replay(contents.path))
    names = [request.model_spec.signature_name for request, _ in answered]
    assert names == ["serving_default", "ids", "score"] * 2
    assert [len(next(iter(outputs.values()))) for _, outputs in answered] == [1, 1, 1, 3, 3, 3]
    assert answered[3][1]["translations"].tolist() == [b"EIN HAUS", "ZWÖLF 🙂".encode(), b"EIN HAUS"]
    assert answered[5][1]["scores"].tolist() == [8 - 3, len("zwölf 🙂".encode()) - 4, 8 - 3]
    assert np.array_equal(answered[4][1]["ids"], [[3, 6, 5, 4]] * 3)


def test_too_many_records_and_an_empty_batch_are_refused(contents):
    file = contents.path / FILE
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(ValueError, match=r"3 signatures in 334 batch sizes are 1002 warm-up records.*at most 1000"):
        write_warmup(contents, SENTENCES, batch_sizes=range(1, 335))
    for wrong in ([], [4, 0]):
        with pytest.raises(ValueError, match="batch_sizes must be one or more ints of at least 1"):
            write_warmup(contents, SENTENCES, batch_sizes=wrong)
    assert (file.read_bytes() if file.exists() else None) == before


def test_the_error_names_the_missing_package_and_its_extra(contents, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis.prediction_log_pb2", None)
    with pytest.raises(ImportError, match=r'pip install "keras-transformer-translation\[serving\]"'):
        write_warmup(contents, SENTENCES)
