"""What a user reads when a command fails: one line on the standard error, and nothing on the standard output."""

import re

import pytest
import tensorflow as tf
import tiny

import keras_transformer_cli.app as app_module
from keras_transformer_cli.complaints import called, in_one_line
from keras_transformer_cli.early_checks import model_changes
from keras_transformer_cli.main import _run
from keras_transformer_cli.training_data import make_tokenizer


def complaint(capsys, *arguments, code=2):
    """The line that a command prints that fails."""
    assert _run(list(map(str, arguments)), verbose=False) == code
    out, err = capsys.readouterr()
    assert (out, err[-1], err.count("\n")) == ("", "\n", 1)
    return err.strip()


def raising(error):
    """A command that fails with this error."""

    def command(*arguments, **options):
        raise error

    return command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("translate m", "--beam-size='0' must be at least 1. See keras-transformer translate --help"),
        ("translate m --beam-size x", "--beam-size='x' must be a whole number. See keras-transformer translate --help"),
        ("score a b c --length-penalty x", "--length-penalty='x' must be a number. See keras-transformer score --help"),
        ("translate m --set beam_size=2.5", "beam_size='2.5' in the configuration must be a whole number. See "),
        ("export m o --to x", "--to='x' is not one of 'saved_model', 'ctranslate2', 'marian'. See keras-transformer "),
        ("translate m --set beam=1", "--set: unknown key 'beam'. Did you mean 'beam_size'? The keys are: model, "),
        ("translate m --tsv --jsonl", "--tsv and --jsonl cannot go together. See keras-transformer translate --help"),
        ("translate m --beem-size 3", "No such option: --beem-size (Possible options: --batch-size, --beam-size). See"),
        ("train a b", "Missing option '--output' / '-o'. See keras-transformer train --help"),
        ("train a b -o c --epochs 0", "--epochs='0' must be at least 1. See keras-transformer train --help"),
        ("train a b -o c --tokens-per-batch 0", "--tokens-per-batch='0' must be at least 1. See keras-transformer "),
        ("train a b -o c --warmup-steps 0", "--warmup-steps='0' must be at least 1. See keras-transformer train"),
        ("train a b -o c --tokenizer none", "--tokenizer: path 'none' does not exist. See keras-transformer train"),
        ("evaluate m s", "a reference is missing. Give: MODEL SOURCE REFERENCE. See keras-transformer evaluate --help"),
        (
            "evaluate a b --translated -o x",
            "--output has no meaning with --translated: nothing is translated. Leave",
        ),
        ("trian", "No such command 'trian'. Did you mean 'train'? See keras-transformer --help"),
        ("tokenizer shwo", "No such command 'shwo'. Did you mean 'show'? See keras-transformer tokenizer --help"),
    ],
)
def test_wrong_options_are_one_line_with_the_value_the_rule_and_where_to_look(capsys, words, message):
    words = words.split()
    words += ["--beam-size", "0"] if words == ["translate", "m"] else []
    assert complaint(capsys, *words).startswith(f"Error: {message}")


def test_the_other_ways_to_end(capsys):
    assert _run(["--version"], verbose=False) == 0
    assert _run(["presets", "--help"], verbose=False) == 0
    capsys.readouterr()
    assert _run(["tokenizer"], verbose=False) == 2
    assert "shwo" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left: writing x failed"), "No space left: writing x failed"),
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or directory: 'x'"),
        (ValueError("first\n\n  second"), "first second"),
        (RuntimeError(), "RuntimeError"),
        (
            FileExistsError("x exists already. Choose another path, or pass overwrite=True to replace it."),
            "x exists already. Choose another path, or give --overwrite to replace it.",
        ),
        (ValueError("dtype='x' is no Keras dtype policy"), "precision='x' is no Keras dtype policy"),
        (
            ValueError("Give dtype='int8_from_float32', or the folder"),
            "Give --precision int8_from_float32, or the folder",
        ),
    ],
)
def test_errors_of_the_library_are_one_line_in_the_words_of_the_command_line(error, message):
    assert in_one_line(error) == message


def test_a_full_memory_is_one_line_and_an_unknown_error_is_not_hidden(capsys, monkeypatch):
    oom = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[7,11] and type float\non")
    for error, what in ((oom, " (OOM when allocating tensor with shape[7,11])"), (MemoryError(), "")):
        monkeypatch.setattr(app_module, "app", raising(error))
        expected = f"Error: the memory is full{what}. Take less at a time: a smaller --batch-size, or in a training"
        assert complaint(capsys, code=1).startswith(expected)
    monkeypatch.setattr(app_module, "app", raising(KeyError("a defect")))
    with pytest.raises(KeyError, match="a defect"):
        _run([], verbose=False)


def test_arguments_of_the_library_are_called_as_their_options():
    names = {"folder[0]": "model", "folder[1]": "ensemble", "model": "subwords"}
    for error, message in (
        (ValueError("model='bpe' and my_model=3, a.model=4"), "subwords='bpe' and my_model=3, a.model=4"),
        (FileNotFoundError("folder[1]='x' does not exist."), "ensemble='x' does not exist."),
        (TypeError("folder[0] is none"), "folder[0] is none"),  # no name of an argument
    ):
        with pytest.raises((OSError, ValueError, TypeError)) as raised, called(names):
            raise error
        assert str(raised.value) == message


def test_a_size_that_does_not_suit_the_texts_is_that_of_its_side(tmp_path):
    source, target = map(str, tiny.write_pairs(tmp_path, tiny.digit_pairs(20)))
    settings = {"tokenizer": None, "subwords": "wordpiece", "normalization": "none", "vocabulary_size": 25}
    for sizes, start in (
        ({"target_vocabulary_size": 9}, "target_vocabulary_size=9 is too small: subwords='wordpiece' needs at least"),
        ({"vocabulary_size": 9, "target_vocabulary_size": 25}, "vocabulary_size=9 is too small: subwords="),
        ({"vocabulary_size": 9, "target_vocabulary_size": None}, "vocabulary_size=9 is too small: subwords="),
    ):
        with pytest.raises(ValueError, match=f"^{start}"):
            make_tokenizer([source], [target], {**settings, **sizes}, tmp_path / "data", True)


def test_a_size_is_no_change_of_the_model():
    settings = {"dropout": 0.1, "precision": "float32", "model": ["target_vocabulary_size=9"]}
    message = (
        "model='target_vocabulary_size=9': the tokenizer has this size. Give target_vocabulary_size as an option of "
        "its own."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model_changes(settings, 25, None)


def test_files_are_named_by_their_argument(capsys, tmp_path):
    files = tiny.write_pairs(tmp_path, tiny.digit_pairs(5))
    (tmp_path / "empty").touch()
    for words, message in (
        (["evaluate", "m", files[0], tmp_path / "no"], f"references={str(tmp_path / 'no')!r} does not exist."),
        (["evaluate", "m", files[0], files[1], "--tokenize", "14a"], "tokenize must be one of none, zh, 13a, intl,"),
        (
            ["evaluate", "m", tmp_path / "empty", files[0]],
            f"{tmp_path / 'empty'} has 0 lines and {files[0]} has",
        ),
        (["tokenizer", "show", tmp_path / "no", "a"], f"tokenizer={str(tmp_path / 'no')!r} does not exist."),
        (["average", "a.keras", "-o", files[0]], f"output={str(files[0])!r} is a file. Choose the name of a folder."),
        (["export", "m", files[0]], f"output={str(files[0])!r} is a file. Choose the name of a folder."),
        (
            ["average", tmp_path / "no.keras", "-o", "m.keras"],
            f"checkpoints[0]={str(tmp_path / 'no.keras')!r} does",
        ),
        (["score", tmp_path / "no", *files], f"model={str(tmp_path / 'no')!r} does not exist."),
        (["export", tmp_path, tmp_path / "new"], f"model={str(tmp_path)!r} holds no model.keras."),
        (
            ["tokenizer", "train", files[0], "-o", "t", "--vocabulary-size", 9],
            "vocabulary_size=9 is too small: subwords",
        ),
        (["doctor", tmp_path / "no"], f"export={str(tmp_path / 'no')!r} does not exist."),
        (
            ["translate", "m", files[0], "--tsv", "--field", 0],
            "field='0' is no column: the first one has the number 1.",
        ),
    ):
        assert complaint(capsys, *words, code=1).startswith(f"Error: {message}")
