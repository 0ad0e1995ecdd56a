"""The serving benchmark runs once, tiny: its contenders agree, and it writes its results."""

import json
import threading

import callers
import numpy as np
import processes
import pytest
import serving
import serving_contenders
import tiny

from keras_transformer import Translator
from keras_transformer.ids import PAD, START


def test_callers_get_their_own_sentences_in_batches():
    sizes, lock = [], threading.Lock()

    def translate(sentences):
        assert lock.acquire(blocking=False), "two batches at a time"
        sizes.append(len(sentences))
        lock.release()
        return [sentence.upper() for sentence in sentences]

    with callers.Batcher(translate, largest=3) as batcher:
        answers = {}
        threads = [
            threading.Thread(target=lambda name=name: answers.update({name: batcher(name)})) for name in "abcdefghijk"
        ]
        for caller in threads:
            caller.start()
        for caller in threads:
            caller.join()
    assert answers == {name: name.upper() for name in "abcdefghijk"}
    assert sum(sizes) == 11 and max(sizes) <= 3


def test_a_caller_learns_of_an_error():
    def fail(sentences):
        raise ValueError("no")

    with callers.Batcher(fail) as batcher, pytest.raises(ValueError, match="no"):
        batcher("a")


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure in this process, except "warm": TensorFlow is loaded here already, and its threads are fixed."""

    def call(script, *arguments):
        if arguments[0] == "warm":
            return processes.in_a_process(script, *arguments)
        return json.loads(json.dumps(serving.run_worker(*json.loads(json.dumps(arguments)))))

    monkeypatch.setattr(serving, "in_a_process", call)
    monkeypatch.setattr(serving_contenders, "set_threads", lambda threads: None)


def make_brief(vocabulary_size):
    """Return a model that ends its translations after a few tokens and never predicts PAD or START."""
    model = tiny.make_opinionated(vocabulary_size=vocabulary_size)
    first = np.eye(model.d_model)[0]
    rows = model.output_map.embeddings.numpy()
    rows[[PAD, START]] = -9 * first
    model.output_map.embeddings.assign(rows)
    tiny.last_norm(model).beta.assign(2.3 * first)
    return model


def test_serving(tmp_path, capsys, in_this_process):
    pytest.importorskip("ctranslate2", reason="pip install -e '.[interop]'")
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus", "bpe")
    Translator(make_brief(tokenizer.vocabulary_size), tokenizer).save(tmp_path / "model")
    (tmp_path / "test.en").write_text("".join(f"{source}\n" for source, _ in tiny.digit_pairs(6)))
    serving.main(tmp_path / "out", tmp_path / "model", tmp_path / "test.en", count=5, beam=[1], threads=1, rounds=1)
    rows = json.loads((tmp_path / "out" / "serving.json").read_text())
    medians_of = {row["contender"]: row["medians"] for row in rows}
    assert list(medians_of) == ["export", "in process", "ctranslate2", "tutorial"]
    assert {name: figures["same strings"] for name, figures in medians_of.items()} == dict.fromkeys(medians_of, 5)
    assert all(seconds > 0 for figures in medians_of.values() for seconds in figures.values())
    assert "first, warm" in medians_of["export"] and "32 callers, sentences/s" in medians_of["ctranslate2"]
    printed = capsys.readouterr().out
    assert "beam 1: first request, warm / p50: " in printed
    assert (tmp_path / "out" / "serving.md").read_text() == printed
