"""Options from a YAML file, single changes, and what is refused."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
import yaml
from typer.testing import CliRunner

from keras_transformer_cli.config import ConfigOption, SetOption, effective, given_names, write_yaml

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def command(
    context: typer.Context,
    source: str,
    output: Path,
    beam_size: int = 4,
    dropout: float | None = None,
    also: Annotated[list[str] | None, typer.Option()] = None,
    jit: bool | None = None,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    print(yaml.safe_dump({"values": effective(context), "given": sorted(given_names(context))}))


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "400"})
    assert result.exit_code == code, result.output
    return yaml.safe_load(result.stdout) if code == 0 else " ".join(result.stderr.replace("│", " ").split())


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_arguments_options_lists_and_mappings(tmp_path):
    path = write(
        tmp_path / "c.yaml",
        "source: a.en\noutput: runs\nbeam-size: 7\ndropout: 1e-3\nalso: [x y, z w 2]\njit: false\n",
    )
    assert run("--config", path)["values"] == {
        "source": "a.en", "output": "runs", "beam_size": 7, "dropout": 0.001, "also": ["x y", "z w 2"], "jit": False,
    }  # fmt: skip
    mapping = write(tmp_path / "m.yaml", "source: a\noutput: b\nalso: {norm: pre, use_bias: true}\n")
    assert run("--config", mapping)["values"]["also"] == ["norm=pre", "use_bias=true"]


lengths = typer.Typer(pretty_exceptions_enable=False)


@lengths.command()
def length(
    context: typer.Context,
    epochs: int | None = None,
    steps: int | None = None,
    config: ConfigOption = None,
    changes: SetOption = None,
):
    print(yaml.safe_dump(effective(context)))


@pytest.mark.parametrize(
    ("arguments", "epochs", "steps"),
    [
        (["--steps", "7"], None, 7),
        (["--set", "steps=7"], None, 7),
        (["--set", "steps=7", "--epochs", "3"], 3, None),
        (["--epochs", "3", "--steps", "7"], 3, 7),  # the training refuses both
        ([], 2, None),
    ],
)
def test_the_length_that_was_given_nearer_takes_the_place_of_the_other(tmp_path, arguments, epochs, steps):
    path = write(tmp_path / "c.yaml", "epochs: 2\n")
    result = CliRunner().invoke(lengths, ["--config", str(path), *arguments])
    assert yaml.safe_load(result.stdout) == {"epochs": epochs, "steps": steps}


def test_the_command_line_comes_before_set_and_set_before_the_file(tmp_path):
    path = write(tmp_path / "c.yaml", "source: a\noutput: b\nbeam_size: 7\ndropout: 0.5\n")
    for order in (["--config", path, "--set", "beam_size=8"], ["--set", "beam_size=8", "--config", path]):
        found = run(*order)
        assert found["values"]["beam_size"] == 8
        assert found["given"] == ["beam_size", "dropout", "output", "source"]
        assert run(*order, "--beam-size", 9)["values"]["beam_size"] == 9
    assert run("s", "o")["given"] == ["output", "source"]


def test_what_was_effective_gives_the_same_again(tmp_path):
    first = run("a ü", "o", "--dropout", "0.1", "--also", "x y")["values"]
    write_yaml(tmp_path / "effective.yaml", first, ["a comment"])
    again = run("--config", tmp_path / "effective.yaml")
    assert again["values"] == first
    assert "jit" not in again["given"]  # null stands for the default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "source: a\nbeam_sise: 3\n",
            r"line 2: unknown key 'beam_sise'. Did you mean 'beam_size'? The keys are: source,",
        ),
        ("beam_size: 3\nsource: a\nbeam_size: 4\n", r"line 3: 'beam_size' is in line 1 already."),
        ("beam_size: [3, 4]\n", "line 1: 'beam_size' takes one value, got a list of 2."),
        ("beam_size: 2.5\n", "Invalid value for '--beam-size': Input should be a valid integer"),
        ("- a\n", "must have lines of the form key: value, for example epochs: 5."),
        ("a: [\n", "c.yaml, line 2: this is no YAML: expected the node content, but found '<stream end>'."),
    ],
)
def test_wrong_files_are_refused_in_one_line_with_the_place(tmp_path, text, message):
    path = write(tmp_path / "c.yaml", text)
    assert message in run("s", "o", "--config", path, code=2)


def test_wrong_changes_are_refused():
    assert "'beam_size' is no change: write KEY=VALUE" in run("s", "o", "--set", "beam_size", code=2)
    assert "--set: unknown key 'beam'. Did you mean 'beam_size'?" in run("s", "o", "--set", "beam=3", code=2)
    assert "does not exist" in run("s", "o", "--config", "nowhere.yaml", code=2)
    message = "--set 'beam_size=[1': the value is no YAML: expected ',' or ']', but got '<stream end>'."
    assert message in run("s", "o", "--set", "beam_size=[1", code=2)


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes("source: a\noutput: gr\u00f6\n".encode("latin-1"))
    message = "c.yaml, line 2: not valid UTF-8 (a byte is 0xf6). Convert the file to UTF-8."
    assert message in run("--config", path, code=2)
