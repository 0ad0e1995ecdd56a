"""The clients of examples/serving with the test double: the same strings as in process, and every kind of failure."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import serving_client
import serving_double
import tensorflow as tf
import typer
from grpc_client import GrpcClient, values_of
from rest_client import RestClient
from serving_client import ServingError

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7", "2 7 1 8", "ñ \u2028 \x00 7 😀", "5 5"]


@pytest.fixture(params=[RestClient, GrpcClient], ids=["rest", "grpc"])
def connect(request, double):
    """Return a function that makes a client of the test double."""

    def make(model="digits", version=None, **limits):
        return request.param(
            double.address(request.param), model, version, **{"batch_size": 13, "timeout": 120.0, **limits}
        )

    return make


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def error_of(client, **changes):
    with pytest.raises(ServingError) as caught:
        list(client.predict(SENTENCES[:1], **changes))
    return caught.value


def test_the_same_strings_and_scores_as_in_process(connect, digits_translator):
    expected = digits_translator(SENTENCES)
    assert len(set(expected)) > 5
    assert connect().translate(SENTENCES) == expected
    assert connect(version=7, batch_size=3).translate(iter(SENTENCES)) == expected
    assert [connect(batch_size=1).translate([sentence]) for sentence in SENTENCES] == [[text] for text in expected]
    scores = [best.score for [best] in digits_translator.n_best(SENTENCES, 1)]
    assert [row["scores"] for row in connect().predict(SENTENCES)] == pytest.approx(scores, rel=1e-5)
    assert connect().translate([]) == []


def test_batches_keep_the_order_and_the_limit(connect, double, digits_translator):
    many = [" ".join(str(number)) for number in range(101, 172)]
    assert connect(batch_size=13).translate(many) == digits_translator(many)
    assert double.models["digits"][7].sizes == [13] * 5 + [8]  # the last batch has 6 rows and is filled up to 8


def test_concurrent_callers_share_a_run(connect, double, digits_translator):
    served = double.models["digits"][7]
    texts = [SENTENCES[number % len(SENTENCES)] for number in range(13)]
    for _ in range(served.batching.threads):  # no batch runs until all callers have sent a request
        served.free.acquire()
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = [pool.submit(lambda text: connect().translate([text]), text) for text in texts]
        serving_double.until(lambda: served.waiting_rows("serving_default") == len(texts))
        for _ in range(served.batching.threads):
            served.free.release()
        assert [answer.result() for answer in answers] == [[text] for text in digits_translator(texts)]
    assert (double.requests, served.runs, served.sizes) == (13, 1, [13])


def test_callers_that_come_and_go_get_what_they_get_alone(connect, double, digits_translator):
    expected = dict(zip(SENTENCES, digits_translator(SENTENCES), strict=True))

    def call(seed):
        rng, client = np.random.default_rng(seed), connect()
        for _ in range(6):
            texts = list(rng.choice(SENTENCES, rng.integers(1, 5)))
            assert client.translate(texts) == [expected[text] for text in texts]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
    served = double.models["digits"][7]
    assert double.requests == 48
    assert served.runs < 48 and max(served.sizes) <= 13


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_what_may_pass_is_tried_again(connect, double, digits_translator, code):
    double.fail(3, code)
    assert connect().translate(SENTENCES) == digits_translator(SENTENCES)
    assert double.requests == 4
    assert [bounds[0] <= pause <= bounds[1] for pause, bounds in zip(double.pauses, PAUSES, strict=True)] == [True] * 3


PAUSES = [(0.1, 0.2), (0.2, 0.4), (0.4, 0.8)]


def test_pauses_differ_and_have_a_longest(connect, double):
    double.fail(20)
    assert "injected (10 attempts)" in str(error_of(connect(retries=9)))
    assert error_of(connect(retries=9)).code == "UNAVAILABLE"
    first, second = double.pauses[:9], double.pauses[9:]
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert 2.5 <= max(first + second) <= 5


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "DEADLINE_EXCEEDED", "INTERNAL", "UNIMPLEMENTED"]
)
def test_what_stays_wrong_is_not_tried_again(connect, double, code):
    double.fail(1, code, "the server's own words")
    error = error_of(connect())
    assert "the server's own words" in str(error)
    assert error.exit_code == serving_client.ERRORS.get(code, (1, ""))[0]
    assert (double.requests, double.pauses) == (1, [])


def test_an_attempt_has_a_time_limit(connect, double):
    double.fail(1, None, delay=2.0)
    assert error_of(connect(timeout=0.5)).code == "DEADLINE_EXCEEDED"
    assert double.pauses == []
    serving_double.until(lambda: double.requests == 1)


def test_all_attempts_together_have_a_time_limit(connect, double):
    double.fail(1)
    error = error_of(connect(deadline=0.09))  # the first pause is 0.1 s or longer
    assert error.code == "DEADLINE_EXCEEDED"
    assert "0.09 s" in str(error) and "injected" in str(error)
    assert (double.requests, double.pauses) == (1, [])


def test_all_batches_together_have_a_time_limit(connect, double, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(serving_client, "monotonic", lambda: clock[0])
    answers = connect(deadline=60.0, batch_size=1).predict(SENTENCES)
    next(answers)
    clock[0] = 159.9
    next(answers)
    clock[0] = 160.1
    with pytest.raises(ServingError, match=r"time limit passed: 60\.0 s for all batches"):
        next(answers)
    assert double.requests == 2


@pytest.mark.parametrize(("timeout", "deadline", "seconds"), [(7.0, 60.0, 7.0), (7.0, 3.0, 3.0), (7.0, None, 7.0)])
def test_an_attempt_gets_the_time_that_is_left(monkeypatch, timeout, deadline, seconds):
    given = []

    def ask(columns, signature, seconds):
        given.append(seconds)
        return {"translations": columns["sentences"]}

    monkeypatch.setattr(serving_client, "monotonic", lambda: 100.0)
    client = serving_client.Client("nowhere", "digits", timeout=timeout, deadline=deadline)
    monkeypatch.setattr(client, "ask", ask)
    assert client.translate(SENTENCES) == SENTENCES
    assert given == [seconds]


def test_an_answer_of_other_rows_is_refused(monkeypatch):
    client = serving_client.Client("nowhere", "digits")
    monkeypatch.setattr(client, "ask", lambda *_: {"translations": ["4"], "scores": [-1.0, -2.0]})
    with pytest.raises(ServingError, match="2 rows were sent to 'serving_default', but not as many came back"):
        client.translate(["4", "5"])


def test_one_string_is_no_list():
    with pytest.raises(TypeError, match=r"rows must be a list, got one string: write \['4 5'\]"):
        serving_client.Client("nowhere", "digits").translate("4 5")


def test_rows_become_columns():
    assert serving_client.to_columns([("4", "5"), ("", "6")], "score") == {
        "sentences": ["4", ""],
        "translations": ["5", "6"],
    }
    assert serving_client.to_columns([[7, 8, 3], [9], [3]], "ids") == {"source_ids": [[7, 8, 3], [9, 3, 3], [3, 3, 3]]}
    assert serving_client.to_columns(["4"], "align") == {"sentences": ["4"]}
    with pytest.raises(ValueError, match="a row of 'ids' has no ids"):
        serving_client.to_columns([[7], []], "ids")


def test_nobody_is_there(double):
    port = closed_port()
    for client in (RestClient(f"http://127.0.0.1:{port}", "digits"), GrpcClient(f"127.0.0.1:{port}", "digits")):
        error = error_of(client)
        assert error.code == "UNAVAILABLE"
        assert "refused (5 attempts)" in str(error)
    assert len(double.pauses) == 8


def test_the_server_comes_up_while_a_client_waits(digits_export, digits_translator, monkeypatch):
    failed = threading.Event()

    def pause(seconds):
        failed.set()
        time.sleep(seconds)

    monkeypatch.setattr(serving_client, "sleep", pause)
    port = closed_port()
    with ThreadPoolExecutor(1) as pool:
        client = GrpcClient(f"127.0.0.1:{port}", "digits", retries=12, timeout=120.0)
        answer = pool.submit(client.translate, SENTENCES)
        assert failed.wait(120)
        with serving_double.Double({"digits": {7: digits_export}}, grpc_port=port):
            assert answer.result() == digits_translator(SENTENCES)


def test_no_such_model_version_or_signature(connect):
    error = error_of(connect("letters"))
    assert (error.code, error.exit_code) == ("NOT_FOUND", 4)
    assert "Servable not found for request: Latest(letters)" in str(error)
    assert "Specific(digits, 8)" in str(error_of(connect(version=8)))
    error = error_of(connect(), signature="serving_defalt")
    assert error.exit_code == 5
    assert '"serving_defalt" not found' in str(error)


def test_a_batch_that_is_too_large_for_the_server(connect):
    with pytest.raises(ServingError, match="Task size 14 is larger than maximum input batch size 13") as caught:
        connect(batch_size=14).translate(["4"] * 14)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "timeout must be positive, got 0"),
        ({"deadline": -1.0}, "deadline must be positive"),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"retries": -1}, "retries must be 0 or more, got -1"),
    ],
)
def test_limits_are_checked(connect, arguments, message):
    with pytest.raises(ValueError, match=message):
        connect(**arguments)


def test_addresses_are_checked():
    with pytest.raises(ValueError, match="must begin with http://"):
        RestClient("localhost:8501", "digits")
    with pytest.raises(ValueError, match="must be host:port"):
        GrpcClient("http://localhost:8500", "digits")


def test_half_a_character_is_no_text(connect, double):
    with pytest.raises(ValueError, match="character 3 is half of a surrogate pair"):
        connect().translate(["1 2", "3 \ud83d"])
    assert double.requests == 0


@pytest.mark.parametrize(
    ("signature", "row", "message"),
    [
        ("serving_default", 1, "a row of 'serving_default' must be a string, got 1"),
        ("align", b"1 2", "a row of 'align' must be a string, got b'1 2'"),
        ("score", "ab", "a row of 'score' must be a sentence and its translation, two strings, got 'ab'"),
        ("score", ("a", "b", "c"), r"two strings, got \('a', 'b', 'c'\)"),
        ("ids", "34", "a row of 'ids' must be a list of whole numbers, got '34'"),
        ("ids", [3.5], r"a row of 'ids' must be a list of whole numbers, got \[3\.5\]"),
    ],
)
def test_rows_of_another_signature_are_refused(signature, row, message):
    with pytest.raises(TypeError, match=message):
        list(RestClient("http://nowhere", "digits").predict([row], signature))


class Foreign(serving_client.Client):
    """A client of a model that this package did not export. It gives these outputs."""

    OPTION, DEFAULT, OUTPUTS = "--url", "nowhere", {}

    def ask(self, columns, signature, seconds):
        return self.OUTPUTS


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"scores": [0.5]}, r"the model gives no text as translations, but {'scores': 0\.5}"),
        ({"translations": [["a", "b"]]}, r"gives no text as translations, but {'translations': \['a', 'b'\]}"),
        (
            {"translations": "a"},
            "'serving_default' gives one value as translations for all rows, 'a', and not one for each",
        ),
        ({"translations": ["a"], "scores": 0.5}, r"gives one value as scores for all rows, 0\.5, and not one for each"),
    ],
)
def test_a_model_without_translations_is_named(outputs, message, monkeypatch, capsys):
    monkeypatch.setattr(Foreign, "OUTPUTS", outputs)
    with pytest.raises(ServingError, match=message) as caught:
        Foreign("nowhere", "digits").translate(["1"])
    assert (caught.value.code, caught.value.exit_code) == ("FAILED_PRECONDITION", 5)
    with pytest.raises(typer.Exit):
        serving_client.command(Foreign)(["1"], retries=0)
    assert "error: nowhere, model 'en_de': " in capsys.readouterr().err


def test_answers_that_are_no_tensorflow_servings():
    answers = [(200, b"<html>", "this is not an answer of TensorFlow Serving"), (502, b"<html>Bad", "HTTP 502.*Bad")]
    for status, content, message in (*answers, (200, b'{"outputs": 0.5}', r"gives one output, without a name, 0\.5")):
        response = requests.Response()
        response.status_code, response._content = status, content
        with pytest.raises(ServingError, match=message):
            RestClient("http://nowhere", "digits")._outputs(response)


def test_every_way_to_write_a_tensor():
    values = [np.float32([[1.5, -2], [0, 4]]), np.int32([[7, 7, 7]]), np.array([True, False, True]), np.float32(3.5)]
    values += [np.zeros((3, 0, 2), np.float32), np.zeros((2, 3, 0), np.int32), np.array([[b"a", "ñ".encode()]])]
    for value in values:
        proto = tf.make_tensor_proto(value)  # several numbers are stored as bytes
        expected = np.char.decode(value, "utf-8") if value.dtype.kind == "S" else value
        assert values_of(proto) == expected.tolist()
    short = tf.make_tensor_proto(2.5, shape=[2, 3])
    assert len(short.float_val) == 1
    assert values_of(short) == [[2.5] * 3] * 2
    with pytest.raises(ServingError, match="has type 2; this client knows"):
        values_of(tf.make_tensor_proto(np.float64(1)))


NO_TENSORFLOW = """
import sys
import rest_client
assert "grpc" not in sys.modules
import grpc_client
assert "tensorflow" not in sys.modules and "numpy" not in sys.modules
import tensorflow as tf
request = grpc_client.PredictRequest()
request.inputs["sentences"].CopyFrom(tf.make_tensor_proto(["4"]))
assert grpc_client.values_of(request.inputs["sentences"]) == ["4"]
"""


def test_the_clients_start_without_tensorflow():
    folder = Path(serving_client.__file__).parent
    result = subprocess.run([sys.executable, "-c", NO_TENSORFLOW], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
