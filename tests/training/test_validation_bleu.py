"""BLEU of the validation set while training: it uses the current weights, stops training and chooses the best epoch."""

import math

import keras
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Translator
from keras_transformer.evaluate import evaluate
from keras_transformer.training import Checkpoint, SampleTranslations, ValidationBLEU

PAIRS = tiny.digit_pairs(60, longest=5)
SOURCES, REFERENCES = (list(side) for side in zip(*PAIRS[:7], strict=True))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


class Spy(keras.callbacks.Callback):
    """Calls a function after each epoch."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def on_epoch_end(self, epoch, logs=None):
        self.look(logs)


def test_a_translator_made_once_sees_the_weights_of_each_epoch(tokenizer):
    with tiny.two_replicas().scope():
        model = tiny.compiled(tiny.make_opinionated(dtype="mixed_bfloat16"), keras.optimizers.Adam(0.02))
    once = Translator(model, tokenizer, beam_size=1)
    before = once(SOURCES)
    seen = []
    model.fit(
        tf.data.Dataset.from_tensors(tiny.batches()[0]),
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[ValidationBLEU(once, SOURCES, REFERENCES), Spy(lambda logs: seen.append((logs, once(SOURCES))))],
    )
    fresh = Translator(model, tokenizer, beam_size=1)(SOURCES)
    assert seen[1][1] == fresh != seen[0][1] != before
    for logs, translations in seen:
        scores = evaluate(translations, REFERENCES)
        assert (logs["val_bleu"], logs["val_chrf"]) == (scores.bleu, scores.chrf)
    assert [graph.experimental_get_tracing_count() for graph in once._searcher.graph._compiled.values()] == [1]


def bleu(every, translate=list, **options):
    callback = ValidationBLEU(translate, REFERENCES, REFERENCES, every, **options)
    callback.set_params({"epochs": 8})
    callback.on_train_begin()
    return callback


@pytest.mark.parametrize(
    ("every", "first", "evaluated"),
    [(1, 5, [6, 7, 8]), (3, 0, [1, 3, 6, 8]), (3, 4, [5, 6, 8]), (2, 0, [1, 2, 4, 6, 8]), (9, 0, [1, 8])],
)
def test_the_first_the_last_and_each_epoch_whose_number_every_divides_are_evaluated(every, first, evaluated):
    """`every` counts from 1, as that of `SampleTranslations`."""
    callback, found = bleu(every), []
    assert callback.scores is None
    for epoch in range(first, 8):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        if logs:
            assert logs == {"val_bleu": pytest.approx(100), "val_chrf": pytest.approx(100)}
            found.append(epoch + 1)
    assert found == evaluated
    assert "|tok:13a|" in callback.scores.bleu_signature


@pytest.mark.parametrize("every", [1, 2, 3, 9])
def test_samples_and_scores_come_after_the_same_epochs(every):
    """All `every` options count alike; only the first epoch of a `fit` has scores and may have no samples."""
    scored, sampled = bleu(every), []
    samples = SampleTranslations(lambda sentences: sampled.append(sentences) or sentences, ["a"], ["a"], every)
    samples.set_params({"epochs": 8})
    for epoch in range(8):
        logs, before = {}, len(sampled)
        scored.on_epoch_end(epoch, logs)
        samples.on_epoch_end(epoch)
        assert epoch == 0 or bool(logs) == (len(sampled) > before), epoch


def test_it_uses_the_tokenizer_it_is_given():
    callback = bleu(1, tokenize="none")
    callback.on_epoch_end(0, {})
    assert "|tok:none|" in callback.scores.bleu_signature


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="have the same length, at least 1; got 2 and 1"):
        ValidationBLEU(list, ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        ValidationBLEU(list, [], [])
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, got 0"):
        ValidationBLEU(list, ["a"], ["a"], every=0)


class Scripted(keras.Model):
    def save(self, path):
        with open(path, "w") as stream:
            stream.write(self.name)


def test_bleu_stops_early_and_the_best_is_kept(tokenizer, tmp_path):
    """3 of 7 are right, then 5, 4 and 4: the second model is the best, and patience 2 stops after the fourth epoch."""
    right = iter([3, 5, 4, 4, 7])

    def translate(sources):
        count = next(right)
        return [source if index < count else "wrong" for index, source in enumerate(sources)]

    model = Scripted(name="first")
    callbacks = [
        bleu(1, translate),
        Checkpoint(tmp_path, tokenizer, monitor="val_bleu"),
        keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=2),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    model.stop_training = False
    for epoch, name in enumerate(("first", "second", "third", "fourth")):
        assert not model.stop_training
        model.name, logs = name, {}
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
    assert model.stop_training
    assert (tmp_path / "model.keras").read_text() == "second"


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [
        ("val_bleu", "auto", "high"),
        ("val_chrf", "auto", "high"),
        ("val_accuracy", "auto", "high"),
        ("val_loss", "auto", "low"),
        ("val_perplexity", "auto", "low"),
        ("val_bleu", "min", "low"),
        ("val_loss", "max", "high"),
    ],
)
def test_the_best_is_the_lowest_or_the_highest(tokenizer, tmp_path, monitor, mode, best):
    callback = Checkpoint(tmp_path, tokenizer, monitor=monitor, mode=mode)
    callback.set_model(Scripted(name="model"))
    callback.on_train_begin()
    for name, value in (("nan", math.nan), ("middle", 3.0), ("low", 1.0), ("absent", None), ("high", 7.0), ("x", 4.0)):
        callback.model.name = name
        callback.on_epoch_end(0, {} if value is None else {monitor: value})
        assert (tmp_path / "last.keras").read_text() == name
    assert (tmp_path / "model.keras").read_text() == best


def test_an_unknown_mode_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="mode must be 'auto', 'min' or 'max', got 'most'"):
        Checkpoint(tmp_path, tokenizer, monitor="val_bleu", mode="most")


@pytest.mark.parametrize("callback", [ValidationBLEU, SampleTranslations], ids=lambda callback: callback.__name__)
def test_paths_are_no_sentences(callback, tmp_path):
    name = {ValidationBLEU: "sources", SampleTranslations: "sentences"}[callback]
    path = tmp_path / "valid.en"
    path.write_text("a b\n")
    for sources, references, error, message in (
        (str(path), str(path), TypeError, f"{name} must be a list of strings, got one string"),
        (path, ["a"], TypeError, f"{name} must be a list of strings, got the path"),
        ([str(path)], ["a"], ValueError, rf"{name}\[0\]='.*valid.en' is the name of a file. Give the file's lines"),
        (["a"], str(path), TypeError, "references must be a list of strings, got one string"),
        (["a"], [str(path)], ValueError, r"references\[0\]='.*valid.en' is the name of a file"),
        (["a", None], ["a", "b"], TypeError, rf"{name}\[1\] must be a string, got None"),
        (["a", "b"], ["a", 5], TypeError, r"references\[1\] must be a string, got 5"),
    ):
        with pytest.raises(error, match=message):
            callback(list, sources, references)
    with pytest.raises(TypeError, match=r"translate must be a function, for example a Translator, got 'runs' \(str\)"):
        callback("runs", ["a"], ["a"])


def test_several_references_count_as_in_evaluate():
    references = [["a b c d", "x"], ["y", "e f g h", "z"]]
    callback = ValidationBLEU(list, ["a b c d", "e f g h"], references)
    callback.set_params({"epochs": 1})
    callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs["val_bleu"] == evaluate(["a b c d", "e f g h"], references).bleu == pytest.approx(100)
