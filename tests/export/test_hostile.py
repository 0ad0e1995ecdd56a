"""Sends hostile strings through an export's session, and tests the checker of the answers."""

import os
import signal

import hostile
import pytest
from hostile_strings import KINDS, strings
from tiny_exports import tiny_export

STRINGS = {"serving_default": 120, "n_best": 30, "score": 30, "ids": 30, "align": 30}


@pytest.mark.parametrize(("kind", "sent"), [("bpe", STRINGS), ("wordpiece", {"serving_default": 60})])
def test_hostile_strings_do_no_harm(kind, sent):
    path, translator = tiny_export(kind)
    watched = hostile.Watched(path, 60)
    try:
        for signature, count in sent.items():
            calls = hostile.rows_for(signature, strings(count), translator.tokenizer.vocabulary_size)
            is_truncated = hostile.rule(signature, translator.tokenizer, extra=translator.max_extra_length)
            report = hostile.check(hostile.Checker(watched, signature, is_truncated), calls)
            assert sum(report.sent.values()) == count
            assert report.clean(), (report.failed, report.not_utf8, report.truncated_wrong, report.influenced)
            assert report.near_ties == []
            assert report.truncated >= (signature != "ids")  # a million of one letter
        assert "InvalidArgumentError" in watched("ids", source_ids=[[translator.tokenizer.vocabulary_size, 3]])
        os.kill(watched.process.pid, signal.SIGKILL)
        assert watched("serving_default", sentences=[b"1"]) == "died with exit code -9"
        assert watched.process is None  # the next call starts a new process
    finally:
        watched.stop()


def test_a_call_over_the_time_limit_is_reported():
    watched = hostile.Watched("nowhere", 60)
    watched.process, watched.connection, watched.seconds = Idle(), Idle(), 0
    assert watched("serving_default", sentences=[b"1"]) == "no answer in 0 s"
    assert watched.process is None


class Idle:
    """A process and its connection that never answer."""

    exitcode = None

    def send(self, call):
        pass

    def poll(self, seconds):
        return False

    def kill(self):
        pass

    def join(self):
        pass


def test_a_seed_always_gives_the_same_strings_and_every_kind():
    made = strings(200, seed=5)
    assert made == strings(200, seed=5) != strings(200, seed=6)
    assert {kind for kind, _ in made} == set(KINDS)
    assert len(made[0][1]) == 1_000_000
    assert hostile.bad_utf8([[text for _, text in made]])


class Fake:
    """Stands for the session. `answer` makes the outputs of a batch from its sentences."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, signature, sentences):
        return self.answer(sentences)


def outputs(rows, translation=None, score=0.0):
    """Outputs with one translation for every sentence. Default: each sentence is its own translation."""
    return {"translations": [translation or row for row in rows], "scores": [score] * len(rows)}


@pytest.mark.parametrize(
    ("reported", "answer"),
    [
        ({"influenced": 2}, lambda rows: outputs(rows, b"x" * len(rows), -float(len(rows)))),
        ({"influenced": 2}, lambda rows: outputs(rows, score=-float(len(rows)))),
        ({"near_ties": 2}, lambda rows: outputs(rows, b"x" * len(rows), -3 - 1e-6 * len(rows))),
        ({"not_utf8": 2}, lambda rows: outputs(rows, b"\xc0")),
        ({"truncated_wrong": 1}, lambda rows: {**outputs(rows), "truncated": [False] * len(rows)}),
        ({"failed": 1}, lambda rows: "no" if len(rows) > 1 else outputs(rows)),
        ({}, lambda rows: {**outputs(rows), "source_pieces": [[row, *[b""] * len(rows)] for row in rows]}),
    ],
)
def test_the_checker_reports_bad_answers(reported, answer):
    checker = hostile.Checker(Fake(answer), "serving_default", lambda inputs: inputs["sentences"] == b"long")
    report = hostile.check(checker, [("a", {"sentences": b"short"}), ("b", {"sentences": b"long"})])
    lists = {name: len(value) for name, value in vars(report).items() if isinstance(value, list) and value}
    assert lists == reported
