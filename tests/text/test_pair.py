"""Two tokenizers as one argument: each side has its own ids, and the same one twice is that one."""

import pickle
import re

import pytest
import tensorflow as tf
import tiny

from keras_transformer import Tokenizer, TokenizerPair
from keras_transformer.inputs.tokenizers import check_tokenizer, save_tokenizer, tokenizer_files


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny.make_pair(tmp_path_factory.mktemp("pair"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_side_has_the_ids_of_its_tokenizer(pair):
    digits, letters = "3 1 4", "b a j"
    assert pair.encode(digits) == pair.source.encode(digits)
    assert pair.encode([letters], side="target") == [pair.target.encode(letters)]
    assert pair.encode(digits, side="target") == [1, 1, 1]  # letters are no digits
    assert pair.decode(pair.target.encode(letters)) == letters
    assert pair.tokenize([letters], "target").to_list() == [pair.target.encode(letters)]
    assert pair.detokenize(pair.tokenize([letters], "target")).numpy().tolist() == [letters.encode()]
    assert pair.vocabulary_sizes == {"source": 25, "target": 21}
    assert pair.fingerprint == {"source": pair.source.fingerprint, "target": pair.target.fingerprint}
    with pytest.raises(ValueError, match=r"side must be one of \('source', 'target'\), got 'left'"):
        pair.encode(digits, side="left")
    copied = pickle.loads(pickle.dumps(pair))
    assert copied.fingerprint == pair.fingerprint and repr(copied) == repr(pair)


def test_a_pair_works_in_a_graph_that_is_saved_and_loaded(pair, tmp_path):
    module = tf.Module()
    module.pair = pair
    module.ids = tf.function(
        lambda texts: pair.tokenize(texts, "target").to_tensor(), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    assert tf.saved_model.load(str(tmp_path / "saved")).ids(["b a"]).numpy().tolist() == [pair.target.encode("b a")]


def test_one_size_is_asked_for_by_its_side(pair):
    with pytest.raises(
        AttributeError, match=r"^a TokenizerPair has two vocabularies: pair\.source\.vocabulary_size is "
    ):
        _ = pair.vocabulary_size


def test_what_is_no_pair_is_refused(pair):
    for arguments, message in (
        (
            ("en.model", pair.target),
            "source must be a Tokenizer, for example Tokenizer.load(path), got 'en.model' (str)",
        ),
        ((pair.source, None), "target must be a Tokenizer, for example Tokenizer.load(path), got None (NoneType). The"),
        ((pair, pair), "source must be a Tokenizer, for example Tokenizer.load(path), got TokenizerPair("),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(message)}.*"):
            TokenizerPair(*arguments)
    for several in ((pair.source, pair.target), [pair.source], {"source": pair.source}):
        with pytest.raises(
            TypeError, match=r"Two tokenizers are TokenizerPair\(source, target\)\. The order is f\(x\)\."
        ):
            check_tokenizer(several, "f(x)")
    check_tokenizer(pair, "f(x)", ("vocabulary_size", "encode", "pieces"))
    with pytest.raises(
        TypeError, match=r"^tokenizer must be a Tokenizer, got <class .* \(type\)\. The order is f\(x\)\.$"
    ):
        check_tokenizer(TokenizerPair, "f(x)")


def test_a_folder_holds_two_files_or_one(pair, tmp_path):
    pair.save(tmp_path)
    assert names(tmp_path) == ["source_tokenizer.model", "target_tokenizer.model"]
    assert TokenizerPair.load(tmp_path).fingerprint == pair.fingerprint
    assert Tokenizer.load(tmp_path / "target_tokenizer.model").fingerprint == pair.target.fingerprint
    with pytest.raises(FileExistsError, match=r"source_tokenizer\.model exists already\. .* overwrite=True"):
        pair.save(tmp_path)
    with pytest.raises(FileExistsError, match=r"source_tokenizer\.model exists already"):
        save_tokenizer(pair.source, tmp_path)
    save_tokenizer(pair.source, tmp_path, overwrite=True)
    assert names(tmp_path) == ["tokenizer.model"]
    pair.save(tmp_path, overwrite=True)
    assert names(tmp_path) == ["source_tokenizer.model", "target_tokenizer.model"]


def test_a_folder_without_a_whole_tokenizer_is_refused(pair, tmp_path):
    rule = r"neither tokenizer\.model nor source_tokenizer\.model and target_tokenizer\.model\. Give the folder of a tr"
    with pytest.raises(FileNotFoundError, match=r"does not exist: the folder holds no tokenizer, " + rule):
        tokenizer_files(tmp_path)
    pair.save(tmp_path)
    (tmp_path / "source_tokenizer.model").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"source_tokenizer\.model does not exist: target_tokenizer\.model is half"
    ):
        tokenizer_files(tmp_path)
    pair.source.save(tmp_path / "tokenizer.model")
    with pytest.raises(
        ValueError, match=r"holds tokenizer\.model and target_tokenizer\.model, of two different runs\."
    ):
        tokenizer_files(tmp_path)
