"""Loads an export as TF Serving does, from a moved read-only folder, in a process that has no Keras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_exports import SENTENCES, tiny_export

CLIENT = Path(__file__).parents[1] / "support" / "session_process.py"


def state(folder):
    """A value that changes if anything in the folder is written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(path.name, path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "unigram"])
def moved(request, tmp_path_factory):
    """The kind of tokenizer and its export, moved to another folder that is read-only."""
    folder = tmp_path_factory.mktemp("moved") / "7"
    shutil.copytree(tiny_export(request.param).path, folder)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield request.param, folder
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def call_in_a_clean_process(folder, calls):
    """The signatures, then the outputs of each call, from a process that cannot import Keras."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    result = subprocess.run(
        [sys.executable, CLIENT, folder],
        input="".join(f"{json.dumps(call)}\n" for call in calls),
        cwd=folder.parent,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def calls_of_every_signature(ids, texts):
    """Calls of all five signatures, each with a batch and with an empty batch."""
    rows = [[*row, 3][: max(map(len, ids))] + [7] * (max(map(len, ids)) - len(row) - 1) for row in ids]
    full = {
        "serving_default": {"sentences": SENTENCES},
        "n_best": {"sentences": SENTENCES},
        "score": {"sentences": SENTENCES, "translations": texts},
        "ids": {"source_ids": rows},
        "align": {"sentences": SENTENCES},
    }
    return [*full.items(), *((name, {key: [] for key in inputs}) for name, inputs in full.items())]


def test_every_signature_answers_from_a_moved_read_only_folder(moved):
    kind, folder = moved
    before = state(folder)
    translator = tiny_export(kind).translator
    hypotheses = translator.n_best(SENTENCES)
    best = [beam[0] for beam in hypotheses]
    texts = [hypothesis.text for hypothesis in best]
    scores = pytest.approx([hypothesis.score for hypothesis in best], rel=1e-5)
    calls = calls_of_every_signature(translator.tokenizer.encode(SENTENCES), texts)
    first, *answers = call_in_a_clean_process(folder, calls)
    assert state(folder) == before
    assert set(first["signatures"]) == {name for name, _ in calls}
    plain, n_best, score, ids, align, *empty = answers
    assert (plain["translations"], plain["scores"]) == (texts, scores)
    assert (align["translations"], align["scores"]) == (texts, scores)
    assert [row[: len(beam)] for row, beam in zip(n_best["translations"], hypotheses, strict=True)] == [
        [hypothesis.text for hypothesis in beam] for beam in hypotheses
    ]
    rows = translator.tokenizer.decode([[token for token in row if token not in (0, 3)] for row in ids["ids"]])
    for i, sentence in enumerate(SENTENCES):
        if sentence.strip() or not sentence:  # the ids of other blank sentences may be UNK, which is translated
            assert (rows[i], ids["scores"][i]) == (texts[i], pytest.approx(best[i].score, rel=1e-5))
    given = [score.score for score in translator.score(SENTENCES, texts)]
    assert score["scores"] == pytest.approx(given, rel=1e-5)
    assert {len(column) for answer in empty for column in answer.values()} == {0}
