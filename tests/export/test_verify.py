"""The check of an export in a clean process: the answers that it accepts and those that are errors."""

import copy
import subprocess
import sys

import hand_made
import pytest
import tensorflow as tf
import tiny

from keras_transformer.export.checks import verify as module
from keras_transformer.export.checks.example_inputs import example_sentences, fitting_inputs
from keras_transformer.export.checks.saved_model import Signature, Tensor, read_saved_model
from keras_transformer.export.checks.verify import verify
from keras_transformer.ids import UNK

SENTENCES = ["ein haus", "", "zwölf 🙂"]
CAPITALS = ["EIN HAUS", "", "ZWÖLF 🙂"]
SCORES = [-8.0, 0.0, -7.0]


def saved(*arguments, **signatures):
    """The `Contents` of a new SavedModel; see `hand_made.save`."""
    return read_saved_model(hand_made.save(*arguments, **signatures))


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("en_de") / "1"
    return saved(folder, score=hand_made.score, ids=hand_made.ids, n_best=hand_made.n_best)


@pytest.fixture(scope="module")
def checked(contents):
    """The answers of a real clean process. The tests below change copies of them."""
    answers = {}
    ask = module._ask
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ask", lambda *arguments: answers.setdefault("real", ask(*arguments)))
        verify(contents, SENTENCES, CAPITALS)
    return answers["real"]


@pytest.fixture
def answers(checked, monkeypatch):
    changed = copy.deepcopy(checked)
    monkeypatch.setattr(module, "_ask", lambda *arguments: changed)
    return changed


def test_a_clean_process_runs_every_signature(checked):
    assert sorted(checked) == ["ids", "n_best", "score", "serving_default"]
    assert checked["serving_default"]["translations"]["values"] == CAPITALS
    assert checked["serving_default"]["scores"]["values"] == SCORES
    assert checked["score"]["scores"]["values"] == [0, 0, 0]  # the given translations are as long as the sentences
    assert checked["ids"]["ids"] == {"dtype": "int32", "shape": [3, 4], "values": [[3, 6, 5, 4]] * 3}


def test_the_best_of_several_is_compared_as_well(contents, answers):
    assert answers["n_best"]["translations"]["values"] == [
        [best, sentence] for best, sentence in zip(CAPITALS, SENTENCES, strict=True)
    ]
    answers["n_best"]["translations"]["values"][2].reverse()
    with pytest.raises(RuntimeError, match=r"'n_best' translates 'zwölf 🙂' as 'zwölf 🙂' in a clean process"):
        verify(contents, SENTENCES, CAPITALS)


@pytest.mark.parametrize("name", ["keras", "keras_transformer", "tensorflow_text"])
def test_a_clean_process_cannot_import(name):
    code = (
        "import runpy, sys; sys.modules['tensorflow'] = sys; "  # another module in its place, which is faster
        f"runpy.run_path({str(module.PROGRAM)!r}); import {name}"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"import of {name} halted; None in sys.modules" in result.stderr


def test_another_translation_is_an_error_that_names_both(contents, answers):
    message = r"'serving_default' translates 'zwölf 🙂' as 'ZWÖLF 🙂' in a clean process, expected 'ZWOLF'"
    wrong = [*CAPITALS[:2], "ZWOLF"]
    with pytest.raises(RuntimeError, match=rf"{message}, scores -6\.500000 and -7\.000000"):
        verify(contents, SENTENCES, wrong, [*SCORES[:2], -6.5])
    with pytest.raises(RuntimeError, match=message):
        verify(contents, SENTENCES, wrong)
    verify(contents, SENTENCES, wrong, [*SCORES[:2], -7.0001])  # accepted as a tie


@pytest.mark.parametrize(
    ("signature", "output", "wrong", "message"),
    [
        (
            "score",
            "scores",
            {"dtype": "float64"},
            r"'score' promises float32 \[\?\] as 'scores' and gave float64 \[3\]",
        ),
        ("serving_default", "scores", {"shape": [2]}, r"gave float32 \[2\] for a batch of 3"),
        ("ids", "ids", {"shape": [3]}, r"'ids' promises int32 \[\?, \?\] as 'ids' and gave int32 \[3\]"),
    ],
)
def test_an_output_of_another_kind_than_promised_is_an_error(contents, answers, signature, output, wrong, message):
    answers[signature][output] |= wrong
    with pytest.raises(RuntimeError, match=message):
        verify(contents, SENTENCES, CAPITALS)


def test_the_error_gives_the_reason_why_the_graph_does_not_run(tmp_path):
    def python(sentences):
        return {"translations": tf.py_function(lambda strings: strings, [sentences], tf.string)}

    contents = saved(tmp_path / "1", python)
    with pytest.raises(RuntimeError, match=r"(?s)/1 does not run in a process without Keras.*pyfunc"):
        verify(contents, SENTENCES, SENTENCES)


def test_a_missing_default_signature_no_sentences_and_too_little_time_are_errors(contents, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(RuntimeError, match=r"no signature 'serving_default' that gives 'translations'\. Its .*: none"):
        verify(read_saved_model(tmp_path / "1"), SENTENCES, CAPITALS)
    with pytest.raises(RuntimeError, match=r"no signature .* that gives 'translations'\. Its .*: serving_default"):
        verify(saved(tmp_path / "2", hand_made.score), SENTENCES, CAPITALS)
    with pytest.raises(ValueError, match="sentences is empty"):
        verify(contents, [], [])
    with pytest.raises(RuntimeError, match=r"took over 0\.01 seconds"):
        verify(contents, SENTENCES, CAPITALS, time_limit=0.01)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_example_sentences_have_only_pieces_of_the_vocabulary(tmp_path, kind):
    tokenizer = tiny.make_tokenizer(tmp_path, kind)
    sentences = example_sentences(tokenizer, 18)
    assert [len(sentence.split()) for sentence in sentences] == [1, 5, 17]
    assert {piece for ids in tokenizer.encode(sentences) for piece in ids}.isdisjoint({UNK})
    assert len(set(sentences[2].split())) == 10  # all digits
    assert example_sentences(tokenizer, 17) == sentences[:2]  # END counts
    assert example_sentences(tokenizer, 2) == sentences[:1]
    assert example_sentences(tokenizer, 1) == [""]


def test_inputs_fit_dtype_and_shape_or_the_error_names_the_input():
    inputs = {
        "translations": Tensor("string", (None,), "a:0"),
        "texts": Tensor("string", (None, 2), "b:0"),
        "ids": Tensor("int64", (None, None), "c:0"),
        "temperature": Tensor("float32", (), "d:0"),
        "flag": Tensor("bool", (None,), "e:0"),
    }
    arrays = fitting_inputs(Signature(inputs, {}), 3, ["x", "ö"], ["y"])
    assert arrays["translations"].tolist() == [b"y"] * 3
    assert arrays["texts"].tolist() == [[b"x", "ö".encode()]] * 3
    assert arrays["ids"].tolist() == [[4, 5, 6, 3]] * 3 and arrays["ids"].dtype == "int64"
    assert arrays["temperature"].tolist() == 1.0 and arrays["temperature"].shape == ()
    assert arrays["flag"].tolist() == [False] * 3
    with pytest.raises(ValueError, match="'x' has an unknown rank"):
        fitting_inputs(Signature({"x": Tensor("int32", None, "x:0")}, {}), 3, ["x"])
    with pytest.raises(ValueError, match="'x' has the dtype complex64"):
        fitting_inputs(Signature({"x": Tensor("complex64", (None,), "x:0")}, {}), 3, ["x"])
