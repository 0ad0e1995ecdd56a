"""The command lines of examples/serving: their output and their exit codes."""

import json

import pytest
import serving_client
import serving_double
import typer
from grpc_client import GrpcClient
from rest_client import RestClient
from typer.testing import CliRunner


@pytest.fixture(params=[RestClient, GrpcClient], ids=["rest", "grpc"])
def command(request, double):
    """Return a function that calls the command line."""
    app = typer.Typer()
    app.command()(serving_client.command(request.param))
    runner = CliRunner()

    def call(*arguments, stdin=b""):
        address = [request.param.OPTION, double.address(request.param)]
        options = [*address, "--model", "digits", "--batch-size", "3", "--timeout", "120"]
        return runner.invoke(app, [*options, *arguments], input=stdin)

    return call


def test_command_line(command, digits_translator):
    texts = ["4", "3 1 4 1 5", "9 8", "2 7 1 8"]
    expected = "".join(f"{text}\n" for text in digits_translator(texts))
    result = command(*texts)
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    result = command("--version", "7", stdin="\n".join(texts).encode())
    assert (result.exit_code, result.stdout) == (0, expected)
    assert command("--deadline", "120", stdin=b"4\r\n").stdout == f"{digits_translator(['4'])[0]}\n"
    assert command(stdin=b"").exit_code == 0


def test_command_line_errors(command, double):
    def failure(code, *arguments, **how):
        result = command(*arguments, **how)
        assert result.exit_code == code, result.output
        return result.stderr

    lines = b"4\n5\n6\n7\n8 \xff\n9\n"
    assert "standard input, line 5: not valid UTF-8 (byte 3 of the line is 0xff). 3 texts" in failure(2, stdin=lines)
    assert "model 'digits': the server has no such model" in failure(4, "--version", "3", "4")
    assert '"bset" not found' in failure(5, "--signature", "bset", "4")
    assert "text 2: score needs a sentence, a tab" in failure(2, "--signature", "score", "4\t4", "4")
    assert "text 1: ids needs whole numbers" in failure(2, "--signature", "ids", "4 x")
    assert "retries must be 0 or more" in failure(2, "--retries", "-1", "4")
    double.fail(1, None, delay=2.0)
    requests = double.requests
    assert "time limit passed" in failure(6, "--timeout", "0.5", "4")
    serving_double.until(lambda: double.requests > requests)
    double.fail(5)
    assert "not there, or not ready: injected (5 attempts)" in failure(3, "4")
    double.fail(1, "INTERNAL", "a bug")
    assert "the request failed" in failure(1, "4")


def test_lines_become_rows():
    assert list(serving_client.read_rows(["4\t5", "\t"], "score")) == [("4", "5"), ("", "")]
    assert list(serving_client.read_rows([" 7  12 3 "], "ids")) == [[7, 12, 3]]
    assert list(serving_client.read_rows(["4\t5", ""], "n_best")) == ["4\t5", ""]


def test_rows_become_lines(capsys):
    serving_client.write_row(
        {"translations": "4\r\n5\u20286", "scores": -1.0, "truncated": True}, "serving_default", 12
    )
    printed = capsys.readouterr()
    assert printed.out == "4 5\u20286\n"
    assert printed.err == "text 12: longer than the model's limit; the end was cut off.\n"
    row = {"translations": ["ñ", "4"], "scores": [-1.0, -2.5], "truncated": False}
    serving_client.write_row(row, "n_best", 1)
    printed = capsys.readouterr()
    assert (json.loads(printed.out), printed.err) == (row, "")
    assert "ñ" in printed.out
