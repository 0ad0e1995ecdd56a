"""Compares exports that store weights in fewer bits with the same rounding done in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from exported import ask_a_clean_process

from keras_transformer import Translator
from keras_transformer.export.graph.precision import PRECISIONS, Stored

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]
CASES = [("int8", "float32"), ("bfloat16", "float32"), ("int8", "mixed_bfloat16")]


def rounded(weight, precision):
    """A weight after it was stored and read, computed without TensorFlow."""
    value = weight.numpy().astype(np.float64)
    if value.ndim == 1:
        return value
    if precision == "bfloat16":
        bits = value.astype(np.float32).view(np.uint32)
        # To the nearest number; half-way, to the one whose last bit is 0.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    channels = value if weight.path.endswith("embeddings") else value.T
    for channel in channels:
        scale = np.float32(max(abs(channel)) / np.float32(127))
        channel[:] = [round(number / scale) * scale for number in channel]
    return value


@pytest.mark.parametrize("precision", PRECISIONS)
def test_stored_values(precision):
    model = tiny.make_random(positions="learned", max_length=11)
    model.source_embedding.embeddings.assign(model.source_embedding.embeddings * np.arange(25)[:, None])  # a row of 0
    stored = Stored(dict(enumerate(model.weights)), precision)
    for key, weight in enumerate(model.weights):
        value, restored = weight.numpy(), stored.value(key).numpy()
        if value.ndim == 1 or precision == "float32":
            assert (restored == value).all()
            continue
        if precision == "int8":
            axis = 1 if weight.path.endswith(("embeddings", "table")) else 0
            scale = np.abs(value).max(axis=axis, keepdims=True) / 127
            assert (np.abs(restored - value) <= scale / 2 * (1 + 1e-5)).all()
            numbers = restored / np.where(scale > 0, scale, 1)
            assert numbers == pytest.approx(np.rint(numbers), abs=1e-4)
        else:
            error = {"bfloat16": 2**-8, "float16": 2**-11}[precision]  # numbers of 8 and of 11 binary digits
            assert (np.abs(restored - value) <= np.abs(value) * error + 2**-24).all()
        assert (restored != value).mean() > 0.5


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """For each of CASES: what the translator gives with weights rounded in NumPy, and what a clean process gives."""
    folder = tmp_path_factory.mktemp("precision")
    tokenizer = tiny.make_tokenizer(folder / "corpus", "bpe")
    expected, requests = {}, []
    for precision, dtype in CASES:
        model = tiny.make_opinionated(dtype=dtype, vocabulary_size=tokenizer.vocabulary_size)
        translator = Translator(model, tokenizer, beam_size=2, max_extra_length=4)
        path = folder / f"{precision}_{dtype}"
        translator.export(path, precision=precision, check=False)
        for weight in model.weights:
            weight.assign(rounded(weight, precision))
        best = [hypothesis for [hypothesis] in translator.n_best(SENTENCES, 1)]
        texts = [hypothesis.text for hypothesis in best]
        scores = [hypothesis.score for hypothesis in best]
        given = [score.score for score in translator.score(SENTENCES, texts)]
        expected[precision, dtype] = path, model, {"translations": texts, "scores": scores}, given
        requests.append(("session", path, "serving_default", {"sentences": SENTENCES}))
        requests.append(("session", path, "score", {"sentences": SENTENCES, "translations": texts}))
    outputs = ask_a_clean_process(requests, folder)
    pairs = zip(outputs[::2], outputs[1::2], strict=True)
    return {case: (*expected[case], *pair) for case, pair in zip(CASES, pairs, strict=True)}


@pytest.mark.parametrize(("precision", "dtype"), CASES)
def test_an_export_computes_with_the_rounded_weights(answers, precision, dtype):
    _, _, best, given, served, scored = answers[precision, dtype]
    rel = 1e-5 if dtype == "float32" else 1e-2  # bfloat16 rounds to steps of 2^-8
    assert served["translations"] == best["translations"]
    assert served["scores"] == pytest.approx(best["scores"], rel=rel)
    assert scored["scores"] == pytest.approx(given, rel=rel)


@pytest.mark.parametrize(("precision", "dtype"), CASES)
def test_the_folder_holds_only_the_small_weights(answers, precision, dtype):
    path, model, *_ = answers[precision, dtype]
    stored = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    counts = dict.fromkeys((tf.float32, tf.as_dtype(precision)), 0)
    for name, kind in stored.get_variable_to_dtype_map().items():
        if kind != tf.string:  # not the list of all names
            counts[kind] += int(np.prod(stored.get_variable_to_shape_map()[name]))
    matrices = [weight for weight in model.weights if len(weight.shape) == 2]
    vectors = sum(weight.shape[0] for weight in model.weights if len(weight.shape) == 1)
    channels = sum(weight.shape[0 if weight.path.endswith("embeddings") else 1] for weight in matrices)
    scales = channels if precision == "int8" else 0
    assert counts == {
        tf.as_dtype(precision): sum(int(np.prod(weight.shape)) for weight in matrices),
        tf.float32: vectors + scales,
    }


def test_weights_that_cannot_be_stored_are_refused(tmp_path):
    model = tiny.make_model()
    translator = Translator(model, tiny.make_tokenizer(tmp_path))
    with pytest.raises(ValueError, match=r"precision must be one of .'float32', .* got 'int4'"):
        translator.export(tmp_path / "1", precision="int4")
    model.encoder.layers[0].feed_forward.inner.kernel.assign(np.full((16, 32), 70_000))
    with pytest.raises(ValueError, match=r"inner/kernel reaches 70000\. float16 cannot hold that"):
        translator.export(tmp_path / "1", precision="float16")
    model.encoder.layers[0].feed_forward.inner.bias.assign(np.full(32, np.nan))
    with pytest.raises(ValueError, match=r"inner/bias is not finite"):
        translator.export(tmp_path / "1")
    assert not (tmp_path / "1").exists()
