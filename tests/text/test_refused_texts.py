"""Texts that no tokenizer learns from, because no corpus may have them."""

import pytest

from keras_transformer import Tokenizer
from keras_transformer.text.learning import MODELS


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["a b", "c\nd"], ValueError, r"^files\[1\]: a line end inside the sentence\. Replace it with a space\. "),
        (["c\r\nd"], ValueError, r"^files\[0\]: a carriage return inside the sentence\. Replace it with a space\. "),
        (["a \ud83d"], ValueError, r"^files\[0\]: it has half a surrogate pair, which is not Unicode\."),
        ([["a b"], ["c", "\udc80"]], ValueError, r"^files\[1\]\[1\]: it has half a surrogate pair"),
        (["a b", None], TypeError, r"^files\[1\] must be a string, got None"),
        (["a b", float("nan")], TypeError, r"^files\[1\] must be a string, got nan"),
        (["a b", b"c"], TypeError, r"^files\[1\] must be a string, got b'c' \(bytes\)\. Decode it first"),
        (b"one\rtwo\n", ValueError, r"t\.txt, line 1: a carriage return inside the line.*or with a line end\. "),
    ],
)  # fmt: skip
def test_texts_that_no_corpus_may_have_are_refused_before_the_training(texts, error, message, tmp_path):
    if isinstance(texts, bytes):
        (tmp_path / "t.txt").write_bytes(texts)
        texts = tmp_path / "t.txt"
    for model in MODELS:
        with pytest.raises(error, match=message):
            Tokenizer.train(texts, 300, model)
