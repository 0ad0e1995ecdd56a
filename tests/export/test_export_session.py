"""The loader of TF Serving, on a folder that was moved and may not be written, in a process that has no Keras."""

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
    """What would change if anything under the folder were written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(path.name, path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "unigram"])
def moved(request, tmp_path_factory):
    """A kind of export far from where it was written, read only."""
    folder = tmp_path_factory.mktemp("exile") / "7"
    shutil.copytree(tiny_export(request.param).path, folder)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield request.param, folder
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def call_in_a_clean_process(folder, calls):
    """The signatures in a dictionary, and what each call gave, from a process in which Keras cannot be imported."""
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
    """All five, each once with a batch and once empty."""
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
    best = [found[0] for found in hypotheses]
    texts, scores = [found.text for found in best], pytest.approx([found.score for found in best], rel=1e-5)
    calls = calls_of_every_signature(translator.tokenizer.encode(SENTENCES), texts)
    first, *answers = call_in_a_clean_process(folder, calls)
    assert state(folder) == before
    assert set(first["signatures"]) == {name for name, _ in calls}
    plain, n_best, score, ids, align, *empty = answers
    assert (plain["translations"], plain["scores"]) == (texts, scores)
    assert (align["translations"], align["scores"]) == (texts, scores)
    assert [row[: len(found)] for row, found in zip(n_best["translations"], hypotheses, strict=True)] == [
        [one.text for one in found] for found in hypotheses
    ]
    rows = translator.tokenizer.decode([[token for token in row if token not in (0, 3)] for row in ids["ids"]])
    for i, sentence in enumerate(SENTENCES):
        if sentence.strip() or not sentence:  # the ids of other blanks may be UNK, which is a word
            assert (rows[i], ids["scores"][i]) == (texts[i], pytest.approx(best[i].score, rel=1e-5))
    again = [found.score for found in translator.score(SENTENCES, texts)]
    assert score["scores"] == pytest.approx(again, rel=1e-5)
    assert {len(column) for answer in empty for column in answer.values()} == {0}
