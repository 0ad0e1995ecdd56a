"""Every signature gives the same through REST and gRPC as a `Translator` in process, in joined batches too."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import serving_client
import serving_double
import typer
from grpc_client import GrpcClient
from rest_client import RestClient
from typer.testing import CliRunner

from keras_transformer.ids import END

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


@pytest.fixture(params=[RestClient, GrpcClient], ids=["rest", "grpc"])
def client(request, double):
    return request.param(double.address(request.param), "digits", timeout=120.0, batch_size=13)


def near(values):
    return pytest.approx(values, rel=1e-4, abs=1e-5)


def source_ids(translator, sentences):
    """Return lists of ids of different lengths, each with END."""
    return [[*pieces, END] for pieces in translator.tokenizer.tokenize(sentences).to_list()]


def test_n_best(client, digits_translator):
    rows = list(client.predict(SENTENCES, "n_best"))
    for row, hypotheses in zip(rows, digits_translator.n_best(SENTENCES), strict=True):
        assert row["translations"][: len(hypotheses)] == [hypothesis.text for hypothesis in hypotheses]
        assert row["scores"][: len(hypotheses)] == near([hypothesis.score for hypothesis in hypotheses])
        assert row["truncated"] is False
    assert [len(row["translations"]) for row in rows] == [2] * 5


def test_score(client, digits_translator):
    given = ["4", "5 1", "", "8 9 0 7", "7"]
    rows = list(client.predict(zip(SENTENCES, given, strict=True), "score"))
    expected = digits_translator.score(SENTENCES, given)
    assert [row["scores"] for row in rows] == near([score.score for score in expected])
    assert [row["log_probabilities"] for row in rows] == near([score.log_probability for score in expected])
    assert [row["token_counts"] for row in rows] == [len(score.tokens) for score in expected]
    impossible = next(client.predict([("", "4")], "score"))
    assert impossible["scores"] == -math.inf  # JSON has no infinity, but the server writes it


def test_ids(client, digits_translator):
    filled = [text for text in SENTENCES if text]
    rows = list(client.predict(source_ids(digits_translator, filled), "ids"))
    pieces = digits_translator.tokenizer.pieces
    for row, [best] in zip(rows, digits_translator.n_best(filled, 1), strict=True):
        assert tuple(pieces(row["ids"][: len(best.tokens)])) == tuple(best.tokens)
        assert not any(row["ids"][len(best.tokens) :])
        assert row["scores"] == near(best.score)


def test_align(client, digits_translator):
    rows = list(client.predict(SENTENCES, "align"))
    assert [row["translations"] for row in rows] == digits_translator(SENTENCES)
    for text, row, [best] in zip(SENTENCES, rows, digits_translator.n_best(SENTENCES, 1), strict=True):
        pieces = [[piece for piece in row[side] if piece] for side in ("source_pieces", "target_pieces")]
        if not text:
            assert pieces[1] == []
            continue
        source, target, alignment = digits_translator.alignment(text, best.tokens)
        assert pieces == [list(source), list(best.tokens)]
        count = len(best.tokens)  # in process, a translation that the limit cut ends with END
        assert tuple(target[:count]) == tuple(best.tokens)
        rows_of_alignment = np.array(row["alignment"])[:count, : len(source)]
        np.testing.assert_allclose(rows_of_alignment, alignment[:count], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [RestClient, GrpcClient])
def test_ids_of_any_length_share_a_batch(kind, double, digits_translator):
    """The server pads a request with its own first id. That comes after END and has no effect."""
    rows = source_ids(digits_translator, ["4", "3 1 4 1 5", "1 2 3 4 5 6 7", "9 8", "2 7 1 8"])
    served = double.models["digits"][7]

    def ask(row):
        client = kind(double.address(kind), "digits", timeout=120.0)
        [answer] = client.predict([row], "ids")
        return [token for token in answer["ids"] if token], answer["scores"], answer["truncated"]

    alone = [ask(row) for row in rows]
    served.runs = 0
    for _ in range(served.batching.threads):
        served.free.acquire()
    with ThreadPoolExecutor(len(rows)) as pool:
        answers = [pool.submit(ask, row) for row in rows]
        serving_double.until(lambda: served.waiting_rows("ids") == len(rows))
        for _ in range(served.batching.threads):
            served.free.release()
        for (ids, score, truncated), answer in zip(alone, answers, strict=True):
            assert answer.result() == (ids, near(score), truncated)
    assert served.runs == 1


def test_the_command_line_prints_json(double):
    app = typer.Typer()
    app.command()(serving_client.command(RestClient))
    options = ["--url", double.address(RestClient), "--model", "digits", "--timeout", "120"]

    def call(signature, stdin):
        result = CliRunner().invoke(app, [*options, "--signature", signature], input=stdin)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    assert [len(row["scores"]) for row in call("n_best", "4\n5\n")] == [2, 2]
    assert [sorted(row) for row in call("ids", "21 22 3\n30 3\n")] == [["ids", "scores", "truncated"]] * 2
    [row] = call("score", "4 5\t5 4\n")
    assert row["token_counts"] > 1 and row["scores"] < 0


def test_truncated_is_told(double, digits_translator):
    rows = list(GrpcClient(double.address(GrpcClient), "digits", timeout=120.0).predict(["7 " * 400, "7"]))
    assert [row["truncated"] for row in rows] == [True, False]
