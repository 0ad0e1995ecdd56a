"""What a Translator does not take: one line each, which names the argument, the place and the rule."""

import copy
import logging
import multiprocessing
import operator
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Tokenizer, Transformer, Translator

SENTENCES = ["4", "3 1 4 1 5", "", "9 8"]
ORDER = "The order is Translator(model, tokenizer)."


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    tokenizer = tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return Translator(tiny.make_opinionated(), tokenizer, beam_size=2, max_extra_length=4)


@pytest.fixture(scope="module")
def multilingual():
    """A translator whose tokenizer has three target languages."""
    codes = [">>deu<<", ">>fra<<", ">>spa<<"]
    lines = [f"ox {first} {second}" for first in range(10) for second in range(10)]
    tokenizer = Tokenizer.train(lines, 300, user_defined_symbols=codes, hard_vocab_limit=False)
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    return Translator(model, tokenizer, beam_size=1, max_extra_length=2)


def test_a_model_and_a_tokenizer_are_asked_for_by_name(translator):
    model, tokenizer = translator.model, translator.tokenizer
    for arguments, message in (
        ((tokenizer, model), f"model must be a Transformer, got {tokenizer!r} (Tokenizer). {ORDER}"),
        (
            ("runs/en", tokenizer),
            "model must be a Transformer, got 'runs/en' (str). Read a folder with Translator.load",
        ),
        (([model, None], tokenizer), f"model[1] must be a Transformer, got None (NoneType). {ORDER}"),
        (
            (model, "tokenizer.model"),
            "tokenizer must be a Tokenizer, got 'tokenizer.model' (str). Read a file with Token",
        ),
        ((model, model), "tokenizer must be a Tokenizer, got <Transformer name="),
    ):
        with pytest.raises(TypeError) as error:
            Translator(*arguments)
        assert str(error.value).startswith(message)


CALLS = {
    "sentences": lambda translator, value: translator(value),
    "sentences of n_best": lambda translator, value: translator.n_best(value),
    "sentences of sample": lambda translator, value: translator.sample(value),
    "prefixes": lambda translator, value: translator(["1", "2"], prefixes=value),
    "sources": lambda translator, value: translator.score(value, ["1", "2"]),
    "targets": lambda translator, value: translator.score(["1", "2"], value),
}


@pytest.mark.parametrize("call", CALLS)
def test_lists_of_strings_are_asked_for_by_argument_and_place(translator, call):
    name = call.split()[0]
    for value, found in (
        ("1 2", "a list of strings, got one string"),
        (7, r"a list of strings, got 7 \(int\)"),
        (b"1", r"a list of strings, got b'1' \(bytes\)"),
        (Path("test.en"), "a list of strings, got the path 'test.en'"),
        (pandas.DataFrame({"en": ["1"]}), r"a list of strings, got a table \(DataFrame\) with the columns en"),
    ):
        with pytest.raises(TypeError, match=f"^{name} must be {found}"):
            CALLS[call](translator, value)
    for value, found in ((None, "None"), (float("nan"), "nan"), (5, "5"), (b"2", "b'2'")):
        with pytest.raises(TypeError, match=rf"^{name}\[1\] must be a string, got {found} \("):
            CALLS[call](translator, ["1", value])
    with pytest.raises(TypeError, match="must be a list of strings, got None"):
        translator(None)


def test_numbers_are_asked_for_by_name(translator, tmp_path):
    source = tmp_path / "a"
    source.write_text("1\n")
    for call, message in (
        (lambda: translator(["1"], batch_size="8"), r"batch_size must be a whole number of at least 1, got '8'\."),
        (lambda: translator(["1"], workers=1.5), r"workers must be a whole number of at least 1, got 1\.5\."),
        (lambda: translator.n_best(["1"], "2"), r"n must be a whole number of at least 0, got '2'\."),
        (lambda: translator.sample(["1"], n=None), r"n must be a whole number of at least 1, got None\."),
        (lambda: translator.sample(["1"], temperature="hot"), r"temperature must be a number, got 'hot'\."),
        (lambda: translator.sample(["1"], top_k="3"), r"top_k must be a whole number of at least 0, got '3'\."),
        (lambda: translator.sample(["1"], seed="a"), r"seed must be a whole number of at least 0, got 'a'\."),
        (
            lambda: translator.translate_file(source, tmp_path / "b", window="9"),
            r"window must be a whole number of at least 1, got '9'\.",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            call()


def test_other_arguments_are_asked_for_by_name(translator, tmp_path):
    source = tmp_path / "a"
    source.write_text("1\n")
    for call, message in (
        (lambda: Translator(translator.model, Tokenizer), r"tokenizer must be a Tokenizer, got <class "),
        (lambda: translator.attention(["1"], "2"), r"sentence must be a string, got \['1'\] \(list\)"),
        (lambda: translator.alignment("1", None), r"translation must be a string, got None"),
        (lambda: translator.alignment("1", ["▁1", 2]), r"translation\[1\] must be a string, got 2"),
        (lambda: translator.score(["1"], [["▁1", None]]), r"targets\[0\]\[1\] must be a string, got None"),
        (
            lambda: translator.translate_file(["1"], tmp_path / "out"),
            "source_path must be a path, a str or a pathlib.Path, got",
        ),
        (
            lambda: translator.translate_file(source, None),
            r"target_path must be a path, a str or a pathlib.Path, got None",
        ),
    ):
        with pytest.raises(TypeError, match=f"^{message}"):
            call()


def test_pandas_and_numpy_give_sentences_too(translator):
    expected = translator(SENTENCES)
    for kind in (pandas.Series, np.array, iter, tuple):
        assert translator(kind(SENTENCES)) == expected


def test_texts_in_tensors_must_be_decoded(translator):
    texts = tf.constant(["4", "3 1"])
    for sentences in (texts, tf.data.Dataset.from_tensor_slices(texts)):
        message = r"^sentences\[0\] must be a string, got <tf.Tensor.*Decode it first: text\.numpy\(\)\.decode\(\)\.$"
        with pytest.raises(TypeError, match=message):
            translator(sentences)
    assert translator(text.numpy().decode() for text in texts) == translator(["4", "3 1"])


def test_a_misspelled_option_gets_the_nearest_name(translator, tmp_path):
    model, tokenizer = translator.model, translator.tokenizer
    for call, owner, wrong, near in (
        (lambda: Translator(model, tokenizer, beam_sise=2), "Translator", "beam_sise", "beam_size"),
        (
            lambda: Translator.load(tmp_path / "none", lenght_penalty=1),
            "Translator.load",
            "lenght_penalty",
            "length_penalty",
        ),
        (lambda: translator.sample(["1"], worker=1), "sample", "worker", "workers"),
        (lambda: translator.export(tmp_path / "1", precison="int8"), "export", "precison", "precision"),
        (lambda: translator.translate_file("a", "b", progres=False), "translate_file", "progres", "progress"),
        (lambda: Transformer.from_preset("quickstart", d_modl=8), "Transformer.from_preset", "d_modl", "d_model"),
    ):
        with pytest.raises(
            TypeError, match=rf"^{owner} has no option '{wrong}'\. Did you mean '{near}'\? The options are: "
        ):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_the_translator_is_none_of_its_calls(translator):
    for call, owner in ((translator, "a call of Translator"), (translator.n_best, "Translator.n_best")):
        message = (
            rf"^beam_size is an option of Translator\(\.\.\.\), and {owner} has none of this name\. "
            r"Make another one with beam_size=3\.$"
        )
        with pytest.raises(TypeError, match=message):
            call(["1"], beam_size=3)
        with pytest.raises(TypeError, match=rf"^{owner} has no option 'batchsize'\. Did you mean 'batch_size'\? The "):
            call(["1"], batchsize=3)


def test_an_unknown_target_language_is_refused(multilingual, tmp_path, caplog):
    known = "Known are >>deu<<, >>fra<<, >>spa<<."
    good = multilingual([">>deu<< ox", ">>fra<< ox"])
    assert len(good) == 2
    for call in (multilingual, multilingual.n_best, lambda texts: multilingual.score(texts, texts)):
        with pytest.raises(ValueError) as error:
            call([">>deu<< ox", ">>xyz<< ox"])
        assert str(error.value) == f"sentence 1 begins with >>xyz<<, which is no target language here. {known}"
    (tmp_path / "source").write_text(">>deu<< ox\n>>e<< ox\n")
    with pytest.raises(ValueError, match=r"source, line 2, begins with >>e<<, which is no target language here"):
        multilingual.translate_file(tmp_path / "source", tmp_path / "out")
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        multilingual([">>deu<< ox", "", "ox", "ox 1"])
    assert [record.getMessage() for record in caplog.records] == [
        f"2 of 4 sentences do not begin with a target language. {known}"
    ]


def test_decomposed_text_gets_a_warning_where_it_has_more_pieces(caplog):
    lines = [f"café {first} {second}" for first in range(10) for second in range(10)]
    models = {}
    for form in ("none", "nfc"):
        tokenizer = Tokenizer.train(lines, 300, normalization=form, hard_vocab_limit=False)
        model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
        models[form] = Translator(model, tokenizer, beam_size=1, max_extra_length=2)
    texts = ["1 2", "cafe\u0301 1", "café 1"]
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        translations = models["nfc"](texts)
        assert translations[1] == translations[2]
        models["none"](texts[::2])
        assert caplog.records == []
        models["none"](texts)
        models["none"].score(texts, texts)
    for record in caplog.records:
        assert record.getMessage() == (
            "1 of 3 sentences have decomposed characters (an accent after its letter), which this tokenizer cuts into "
            'more pieces. Give unicodedata.normalize("NFC", text), or train with Tokenizer.train(..., '
            "normalization=\"nfc\"). One of these sentences: 'cafe\u0301 1'"
        )
    assert len(caplog.records) == 2


def test_a_source_that_can_be_read_only_once_is_translated(translator, tmp_path):
    lines = [sentence for sentence in SENTENCES if sentence] * 3
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["".join(f"{line}\n" for line in lines)])
    writer.start()
    translator.translate_file(tmp_path / "pipe", tmp_path / "out", window=4)
    writer.join()
    assert (tmp_path / "out").read_text().splitlines() == translator(lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pipe"]


def test_an_error_in_a_pipe_names_the_pipe(translator, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"1\n\xff\n"])
    writer.start()
    with pytest.raises(ValueError, match=rf"^{tmp_path}/pipe, line 2: not valid UTF-8"):
        translator.translate_file(tmp_path / "pipe", tmp_path / "out")
    writer.join()


def test_a_translator_can_be_pickled_and_copied(translator, tmp_path):
    ensemble = Translator([translator.model, tiny.make_opinionated(3)], translator.tokenizer, beam_size=3, min_length=2)
    for original in (translator, ensemble):
        for copied in (pickle.loads(pickle.dumps(original)), copy.deepcopy(original)):
            assert copied.options == original.options
            assert copied.tokenizer.fingerprint == original.tokenizer.fingerprint
            for model, other in zip(original.models, copied.models, strict=True):
                assert other is not model
                for weights in zip(model.get_weights(), other.get_weights(), strict=True):
                    np.testing.assert_array_equal(*weights)
    assert pickle.loads(pickle.dumps(translator)).n_best(SENTENCES) == translator.n_best(SENTENCES)
    assert copy.copy(translator).model is translator.model
    translator.save(tmp_path / "run")
    loaded = Translator.load(tmp_path / "run")
    assert pickle.loads(pickle.dumps(loaded)).folder == loaded.folder == tmp_path / "run"


def test_a_translator_in_another_process_gives_the_same_strings(translator):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(operator.call, translator, SENTENCES).result() == translator(SENTENCES)


def test_a_model_that_got_other_weights_needs_a_new_translator(translator):
    """The compiled graphs have no variables of LoRA."""
    model = tiny.make_opinionated(seed=4)
    used = Translator(model, translator.tokenizer, beam_size=1, max_extra_length=4)
    before = used(SENTENCES)
    model.set_weights([value * 0.5 for value in model.get_weights()])  # other values are no other weights
    assert used(SENTENCES) != before
    projection = model.decoder.layers[0].self_attention.value_projection
    projection.enable_lora(2)
    for use in (lambda: used(SENTENCES), lambda: used.score(["4"], ["5"]), lambda: used.alignment("4", "5")):
        with pytest.raises(
            RuntimeError, match=r"other weights \(.*lora.*\) than when this Translator was made, as after"
        ):
            use()
    projection.lora_kernel_b.assign(np.ones(projection.lora_kernel_b.shape))
    again = Translator(model, translator.tokenizer, beam_size=1, max_extra_length=4)
    assert len(again(SENTENCES)) == len(SENTENCES)


def test_a_translator_of_other_models_has_no_folder(translator, tmp_path):
    translator.save(tmp_path / "run")
    loaded = Translator.load(tmp_path / "run")
    assert loaded.folder is not None and loaded.with_models(translator.model).folder is None
