"""Arguments of another kind, and misspelled options, get one line that names the argument, the place and the rule."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from keras_transformer.inputs.kinds import read_texts, refuse_paths
from keras_transformer.inputs.options import check_arguments, check_options


class Dataset:
    """A dataset of Hugging Face, as far as it tells that it is one."""

    column_names = ["en", "de"]

    def __iter__(self):
        return iter([{"en": "a", "de": "b"}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a b", "sentences must be a list of strings, got one string: write ['a b']."),
        (Path("train.en"), "sentences must be a list of strings, got the path 'train.en'. Read its lines first."),
        (None, "sentences must be a list of strings, got None (NoneType)."),
        (b"a", "sentences must be a list of strings, got b'a' (bytes)."),
        (7, "sentences must be a list of strings, got 7 (int)."),
        ({"a": "b"}, "sentences must be a list of strings, got {'a': 'b'} (dict)."),
        ({"a"}, "sentences must be a list of strings, got {'a'} (set)."),
        (np.array("a"), "sentences must be a list of strings, got array('a', dtype='<U1') (ndarray) without an axis."),
        (
            pandas.DataFrame({"en": ["a"], "de": ["b"]}),
            "sentences must be a list of strings, got a table (DataFrame) with the columns en, de. Give one column.",
        ),
        (
            Dataset(),
            "sentences must be a list of strings, got a table (Dataset) with the columns en, de. Give one column.",
        ),
        (["a", None], "sentences[1] must be a string, got None (NoneType)."),
        (["a", "b", float("nan")], "sentences[2] must be a string, got nan (float)."),
        ([b"a"], "sentences[0] must be a string, got b'a' (bytes). Decode it first."),
        ([["a", "b"]], "sentences[0] must be a string, got ['a', 'b'] (list)."),
        (pandas.Series(["a", None]), "sentences[1] must be a string, got nan (float)."),
        (np.array([1, 2]), "sentences[0] must be a string, got np.int64(1) (int64)."),
        (["a", "b" * 80, ("c" * 80,)], f"sentences[2] must be a string, got ('{'c' * 58}... (tuple)."),
    ],
)
def test_what_is_no_list_of_strings_is_named(value, message):
    with pytest.raises(TypeError) as error:
        read_texts("sentences", value)
    assert str(error.value) == message


def test_any_ordered_strings_are_read_once():
    texts = ["a", "", "b c"]
    for kind in (list, tuple, iter, np.array, pandas.Series, pandas.Index):
        assert read_texts("sentences", kind(texts)) == texts
    assert read_texts("sentences", []) == []


def test_names_of_files_are_no_sentences(tmp_path):
    (tmp_path / "valid.en").write_text("a\n")
    path = str(tmp_path / "valid.en")
    for texts in ([], [path, "a"], [str(tmp_path / "none.en")], ["a.\0b"], ["x." * 5000]):
        refuse_paths("sources", texts)
    for texts in ([path], [path, path]):
        with pytest.raises(ValueError, match=r"sources\[0\]='.*valid.en' is the name of a file. Give the file's lines"):
            refuse_paths("sources", texts)


def test_a_word_may_be_the_name_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "word").write_text("a\n")
    refuse_paths("sources", ["word"])


def test_a_misspelled_option_gets_the_nearest_name_and_all_names():
    check_options(["beam_size"], ["beam_size", "n"], "Translator")
    with pytest.raises(TypeError) as error:
        check_options({"beam_sise": 4}, ["beam_size", "n"], "Translator")
    assert str(error.value) == (
        "Translator has no option 'beam_sise'. Did you mean 'beam_size'? The options are: beam_size, n."
    )
    with pytest.raises(TypeError, match=r"^f has no option 'xyz'\. The options are: beam_size\.$"):
        check_arguments(lambda beam_size, n: None, ["xyz"], "f", without=["n"])
    check_arguments(lambda **options: None, ["xyz"], "f")
    with pytest.raises(
        TypeError, match=r"^f has no option 'key_dim'\. It is called 'd_k' here\. The options are: d_k\.$"
    ):
        check_options(["key_dim"], ["d_k"], "f")
    with pytest.raises(TypeError, match=r"^f has no option 'key_dim'\. The options are: window\.$"):
        check_options(["key_dim"], ["window"], "f")
