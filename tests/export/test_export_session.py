"""Loads an export as TF Serving does, from a moved read-only folder, in a process that has no Keras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from tiny_exports import SENTENCES, tiny_export

CLIENT = Path(__file__).parents[1] / "support" / "session_process.py"


def state(folder):
    """A value that changes if anything in the folder is written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(path.name, path.stat().st_mode, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


@pytest.fixture
def read_only(tmp_path):
    """{kind of tokenizer: its export}, each moved to another folder that is read-only.

    `test_export_signatures.py` has the third kind, BPE.
    """
    folders = {kind: tmp_path / kind / "7" for kind in ("wordpiece", "unigram")}
    for kind, folder in folders.items():
        shutil.copytree(tiny_export(kind).path, folder)
    paths = [path for folder in folders.values() for path in (folder, *folder.rglob("*"))]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield folders
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def call_in_a_clean_process(folders, calls, cwd):
    """For each folder, the signatures and the outputs of its calls, from one process that cannot import Keras."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    result = subprocess.run(
        [sys.executable, CLIENT, *folders],
        input="".join(f"{json.dumps(call)}\n" for of_one in calls for call in of_one),
        cwd=cwd,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": tiny.STARTUP},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = map(json.loads, result.stdout.splitlines())
    return [[next(lines) for _ in range(1 + len(of_one))] for of_one in calls]


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


def test_every_signature_answers_from_a_moved_read_only_folder(read_only, tmp_path):
    before = {kind: state(folder) for kind, folder in read_only.items()}
    translators = [tiny_export(kind).translator for kind in read_only]
    found = [translator.n_best(SENTENCES) for translator in translators]
    calls = [
        calls_of_every_signature(translator.tokenizer.encode(SENTENCES), [beam[0].text for beam in hypotheses])
        for translator, hypotheses in zip(translators, found, strict=True)
    ]
    answers = call_in_a_clean_process(read_only.values(), calls, tmp_path)
    for translator, hypotheses, answer in zip(translators, found, answers, strict=True):
        assert_equals_the_translator(translator, hypotheses, *answer)
    assert {kind: state(folder) for kind, folder in read_only.items()} == before


def assert_equals_the_translator(translator, hypotheses, first, plain, n_best, score, ids, align, *empty):
    best = [beam[0] for beam in hypotheses]
    texts = [hypothesis.text for hypothesis in best]
    scores = pytest.approx([hypothesis.score for hypothesis in best], rel=1e-5)
    assert set(first["signatures"]) == {"serving_default", "n_best", "score", "ids", "align"}
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
