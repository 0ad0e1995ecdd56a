"""The files of a training: pipes are refused, and validation sentences that are trained on are counted."""

import os
from types import SimpleNamespace

import pytest
import tiny

from keras_transformer_cli.settings import DATA_FOLDER, own_tokenizer
from keras_transformer_cli.training_data import Files, check_rows, make_tokenizer, read_files, tell_of_seen

NAMES = ("source", "target", "valid_source", "valid_target")


def settings(tmp_path, **changed):
    values = {}
    for name in NAMES:
        values[name] = str(tmp_path / name)
        (tmp_path / name).write_text("1\n")
    return {**values, "also": None, "valid_pairs": None, **changed}


@pytest.mark.parametrize("name", [*NAMES, "also[0]"])
def test_a_pipe_is_refused_because_files_are_read_several_times(name, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = str(tmp_path / "pipe")
    given = settings(tmp_path)
    read_files(given)
    if name == "also[0]":
        given["also"] = [f"{pipe} {given['target']}"]
    else:
        given[name] = pipe
    with pytest.raises(ValueError) as raised:
        read_files(given)
    assert str(raised.value) == (
        f"{name}={pipe!r} is a pipe, and a training reads its files several times. Give a file."
    )


def said(tmp_path, capsys, lines, given=None):
    """What is said of eleven validation pairs and a training file of these lines."""
    source = tmp_path / "train"
    source.write_text("".join(f"{line}\n" for line in lines))
    tell_of_seen([(str(number), "x") for number in range(11)], [str(source)], Files(valid=given))
    return " ".join(capsys.readouterr().err.split())


def test_validation_sentences_that_are_trained_on_are_counted(tmp_path, capsys):
    given = ("valid.en", "valid.de")
    assert said(tmp_path, capsys, ["11", "12"]) == ""
    assert said(tmp_path, capsys, ["5 ", "5", "12"], given) == "1 of 11 validation sources are also training sources."
    assert said(tmp_path, capsys, ["5", "7", "12"], given) == (
        "Warning: 2 of 11 validation sources are also training sources. Take them out of the training files."
    )
    assert said(tmp_path, capsys, ["12", "5"]) == (
        "Warning: 1 of 11 validation sources are also training sources. Take them out of the files of --also, or give "
        "--valid-source and --valid-target."
    )


def test_a_run_that_goes_on_takes_the_tokenizer_that_it_has_learned(tmp_path):
    """Whether a vocabulary size is given changes the file that SentencePiece writes, though the pieces are the same."""
    paths = [str(path) for path in tiny.write_pairs(tmp_path, tiny.digit_pairs(60))]
    sizes = {"vocabulary_size": 281, "target_vocabulary_size": None, "subwords": "bpe", "normalization": "none"}
    options = {"tokenizer": None, **sizes}
    learned, other = (
        make_tokenizer(paths, paths, options, tmp_path / name / DATA_FOLDER, exact_size)
        for name, exact_size in (("run", True), ("other", False))
    )
    assert learned.pieces(range(281)) == other.pieces(range(281)) and learned.fingerprint != other.fingerprint
    assert own_tokenizer(tmp_path / "run") is None, "no run has begun there"
    (tmp_path / "run" / "config.yaml").write_text("epochs: 1\n")
    again = {**options, "tokenizer": own_tokenizer(tmp_path / "run")}
    found = make_tokenizer(paths, paths, again, tmp_path / "run" / DATA_FOLDER, exact_size=False)
    assert found.fingerprint == learned.fingerprint


def test_each_replica_has_a_row_for_each_of_its_micro_batches():
    settings = {"accumulate_steps": 3, "tokens_per_batch": 99}
    report = SimpleNamespace(shapes=(SimpleNamespace(rows=24), SimpleNamespace(rows=12)))
    check_rows(report, settings)
    check_rows(report, settings, replicas=2)
    with pytest.raises(ValueError, match=r"^accumulate_steps=3 on 8 devices does not divide 12, the rows of a batch\."):
        check_rows(report, settings, replicas=8)
    check_rows(report, {**settings, "accumulate_steps": 1}, replicas=8)
