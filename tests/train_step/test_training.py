"""Around `fit`: a training folder can be read again, progress is shown correctly, and a task is learned."""

import io
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from rich.console import Console

from keras_transformer import Tokenizer, TransformerSchedule, Translator, parallel_corpus
from keras_transformer.backend.kernels import add_to_columns
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.training import (
    Checkpoint,
    SampleTranslations,
    Throughput,
    TrainingProgress,
    result_card,
    write_card,
)
from keras_transformer.training.lock import LOCK_FILE
from keras_transformer.training.progress import format_number

LENGTHS = [([7, 6, 2], [9, 8, 1]), ([5, 5, 1], [4, 7, 1]), ([3, 8, 2], [9, 2, 1])]
TOKENS = 18 + 12 + 12  # the number of target tokens above


def dataset():
    rng = np.random.default_rng(3)
    first, *others = [tf.data.Dataset.from_tensors(tiny.random_batch(rng, *rows)) for rows in LENGTHS]
    for other in others:
        first = first.concatenate(other)
    return first


def fit(model, callbacks=(), epochs=1, validate=False, initial_epoch=0):
    data = dataset()
    return model.fit(
        data,
        validation_data=data if validate else None,
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
    ).history


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]


def test_training_resumes_from_a_checkpoint_like_an_unbroken_run(tokenizer, tmp_path):
    keras.utils.set_random_seed(5)
    uncut = tiny.compiled(tiny.make_model())
    start = weights(uncut)
    cut = tiny.compiled(tiny.make_model())
    cut.set_weights(uncut.get_weights())

    expected = fit(uncut, epochs=4)
    fit(cut, [Checkpoint(tmp_path / "run", tokenizer)], epochs=2)
    resumed = keras.saving.load_model(tmp_path / "run" / "model.keras")
    schedule = resumed.optimizer._learning_rate
    assert isinstance(schedule, TransformerSchedule) and resumed.optimizer.iterations == 6
    assert float(resumed.optimizer.learning_rate) == pytest.approx(3e-3 * 7 / 60)  # the 7th update comes next
    found = fit(resumed, epochs=4, initial_epoch=2)

    assert found["loss"] == pytest.approx(expected["loss"][2:], rel=1e-5)
    for weight, goal, first in zip(weights(resumed), weights(uncut), start, strict=True):
        np.testing.assert_allclose(weight, goal, rtol=1e-5, atol=1e-6)
        assert np.abs(goal - first).max() > 1e-4


class Scripted(keras.Model):
    """A model whose `save` writes its name. `Checkpoint` calls it."""

    def save(self, path):
        with open(path, "w") as stream:
            stream.write(self.name)


def checkpoint(folder, tokenizer, **options):
    callback = Checkpoint(folder, tokenizer, **options)
    callback.set_model(Scripted(name="first"))
    callback.on_train_begin()
    return callback


def names(folder):
    """The names of the files in a training folder, without the lock."""
    return sorted(set(os.listdir(folder)) - {LOCK_FILE})


def test_a_checkpoint_keeps_the_best_and_the_latest(tokenizer, tmp_path):
    callback = checkpoint(tmp_path / "run", tokenizer, monitor="val_perplexity")
    for name, value in (("first", 9.0), ("second", 5.0), ("third", 7.0), ("fourth", float("nan"))):
        callback.model.name = name
        callback.on_epoch_end(0, {"val_perplexity": value})
    assert (tmp_path / "run" / "model.keras").read_text() == "second"
    assert (tmp_path / "run" / "last.keras").read_text() == "fourth"
    assert Tokenizer.load(tmp_path / "run" / "tokenizer.model").vocabulary_size == tokenizer.vocabulary_size
    assert names(tmp_path / "run") == ["last.keras", "model.keras", "tokenizer.model"]


def test_a_checkpoint_without_monitor_keeps_only_the_latest(tokenizer, tmp_path):
    callback = checkpoint(tmp_path / "run", tokenizer)
    for name in ("first", "second"):
        callback.model.name = name
        callback.on_epoch_end(0, {"loss": 1.0})
    assert (tmp_path / "run" / "model.keras").read_text() == "second"
    assert names(tmp_path / "run") == ["model.keras", "tokenizer.model"]


def test_an_unknown_monitor_lists_what_is_logged_and_loses_no_training(tokenizer, tmp_path):
    callback = checkpoint(tmp_path / "run", tokenizer, monitor="val_loss")
    with pytest.raises(ValueError, match=r"monitor='val_loss' is not logged\. Logged: loss, perplexity\."):
        callback.on_epoch_end(0, {"perplexity": 2.0, "loss": 1.0})
    assert (tmp_path / "run" / "last.keras").read_text() == "first"


@pytest.mark.parametrize("name", ["model.keras", "last.keras", "tokenizer.model"])
def test_a_checkpoint_refuses_a_folder_in_use(tokenizer, tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match=rf"holds a {name} already\. .* or pass overwrite=True\."):
        Checkpoint(tmp_path, tokenizer)
    assert (tmp_path / name).read_text() == "precious"
    checkpoint(tmp_path, tokenizer, overwrite=True).on_epoch_end(0)
    assert (tmp_path / "model.keras").read_text() == "first"


def test_a_failed_save_keeps_the_earlier_checkpoint(tokenizer, tmp_path, monkeypatch):
    callback = checkpoint(tmp_path / "run", tokenizer)
    callback.on_epoch_end(0)

    def fail(model, path):
        with open(path, "w") as stream:
            stream.write("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Scripted, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        callback.on_epoch_end(1)
    assert (tmp_path / "run" / "model.keras").read_text() == "first"
    assert names(tmp_path / "run") == ["model.keras", "tokenizer.model"]


def test_logs_and_screen_of_a_real_fit():
    terminal, file = io.StringIO(), io.StringIO()
    shown = TrainingProgress(Console(file=terminal, force_terminal=True, width=200))
    printed = TrainingProgress(Console(file=file, width=40))
    logs = fit(tiny.compiled_again(), [Throughput(), shown, printed], epochs=2, validate=True)

    assert logs["target_tokens"] == [TOKENS, 2 * TOKENS]
    assert logs["learning_rate"] == pytest.approx([3e-3 * 4 / 60, 3e-3 * 7 / 60])
    assert all(seconds > 0 for seconds in logs["seconds"])
    assert logs["tokens_per_second"] == pytest.approx([TOKENS / seconds for seconds in logs["seconds"]])

    first, second = file.getvalue().splitlines()
    assert first.startswith("epoch 1/2  ") and second.startswith("epoch 2/2  ")
    assert f"perplexity {format_number(logs['perplexity'][0])}" in first
    assert f"val_perplexity {format_number(logs['val_perplexity'][1])}" in second
    assert f"target_tokens {2 * TOKENS}" in second
    results = first.partition("  left ")[0]  # the two callbacks may show different times
    for text in ("3/3 steps", "loss", "tokens/s", results, second, "\x1b[?25h"):  # the last one shows the cursor again
        assert text in terminal.getvalue()
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(1234567, "1,234,567"), (12345.6, "12,346"), (5.4321, "5.432"), (3e-4, "0.0003"), (7, "7")]
)
def test_numbers_are_readable(value, text):
    assert format_number(value) == text


def test_throughput_needs_no_metric_of_ours_and_takes_any_learning_rate():
    model = tiny.make_model()
    optimizer = keras.optimizers.SGD(lambda: 0.01)
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logs = fit(model, [Throughput()])
    assert logs["learning_rate"] == pytest.approx([0.01]) and "target_tokens" not in logs


def test_samples_are_shown_every_few_epochs_and_at_the_end():
    file = io.StringIO()
    callback = SampleTranslations(
        lambda sentences: [sentence.upper() for sentence in sentences],
        ["a [b]", "c"],
        ["A [B]", "d"],
        every=2,
        console=Console(file=file, width=80),
    )
    callback.set_params({"epochs": 5})
    shown = []
    for epoch in range(5):
        before = file.getvalue()
        callback.on_epoch_end(epoch)
        shown.append(file.getvalue()[len(before) :])
    sample = "    a [b]\n  → A [B]\n  = A [B]\n    c\n  → C\n  ≠ d\n"
    assert shown == ["", sample, "", sample, sample]
    with pytest.raises(ValueError, match="must have the same length; got 1 and 2"):
        SampleTranslations(str, ["a"], ["b", "c"])
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, got 0"):
        SampleTranslations(str, ["a"], ["b"], every=0)


def test_a_card_holds_everything_to_repeat_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--data", "my corpus"])
    facts = {"seed": 3, "BLEU": 36.5, "search": {"beam": 4}, "note": "ä"}
    card = write_card(tmp_path, "A result", facts)
    assert card == result_card("A result", facts) == (tmp_path / "RESULT.md").read_text(encoding="utf-8")
    lines = card.splitlines()
    assert lines[0] == "# A result"
    assert {"- command: python train.py --data 'my corpus'", "- seed: 3", "- BLEU: 36.5", "    - beam: 4"} <= set(lines)
    assert f"keras {keras.__version__}, tensorflow {tf.__version__}" in card
    data = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert facts.items() <= data.items() and data["title"] == "A result"
    assert data["command"] == "python train.py --data 'my corpus'"


def test_a_card_that_cannot_be_written_keeps_the_earlier_one(tmp_path):
    write_card(tmp_path, "first", {"seed": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_card(tmp_path, "second", {"seed": object()})
    assert "first" in (tmp_path / "RESULT.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["title"] == "first"


def test_lengths_need_not_be_known_while_the_step_is_traced():
    """Attention dropout needs the length of the last axis, and learned positions must hold the length of a batch."""
    model = tiny.compiled(tiny.make_model(attention_dropout=0.25, positions="learned", max_length=6))
    x, _ = tiny.random_batch(np.random.default_rng(0), [3, 5], [4, 2])
    unknown = {"source": tf.TensorSpec([None, None], tf.int32), "target": tf.TensorSpec([None, None], tf.int32)}
    traced = tf.function(lambda x: model(x, training=True), input_signature=[unknown])
    x = {side: tf.constant(ids) for side, ids in x.items()}
    assert (traced(x).numpy() != model(x).numpy()).any() and np.isfinite(traced(x)).all()
    long = {side: tf.tile(ids, [1, 2]) for side, ids in x.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="a sequence is longer than the 6 learned positions"):
        traced(long)


def test_a_step_of_decoding_may_be_traced_with_known_shapes():
    model = tiny.make_random()
    decoder = IncrementalDecoder(model)

    def step(source, ids):
        return decoder.step(ids, decoder.start(model.encode(source), source, 4))[0]

    inputs = tf.constant([[5, 6, 3], [7, 3, 0]]), tf.constant([[2], [2]])
    np.testing.assert_allclose(tf.function(step)(*inputs), step(*inputs), rtol=0, atol=1e-5)


def test_it_learns_to_reverse_digits(tokenizer, tmp_path):
    """From files to strings: the model reverses sentences that it has not seen in training."""
    keras.utils.set_random_seed(1)
    pairs = tiny.digit_pairs(3100, seed=1, longest=5)
    files = tiny.write_pairs(tmp_path, pairs[100:])
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=600, num_shapes=1, seed=1)
    model = tiny.make_model(d_model=32, d_ff=128, num_heads=4)
    schedule = TransformerSchedule.with_peak(6e-3, model.d_model, warmup_steps=100)
    tiny.compiled(model, keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9))
    model.fit(corpus, epochs=12, verbose=0, shuffle=False)
    sources, references = zip(*pairs[:100], strict=True)
    translations = Translator(model, tokenizer, beam_size=1)(sources)
    assert sum(a == b for a, b in zip(translations, references, strict=True)) >= 95


@pytest.mark.parametrize("in_place", [False, True])
def test_adding_to_columns_is_the_same_in_place_and_compiled(in_place):
    """XLA does not have the op that adds in place."""
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 7)).astype("float32"))
    columns, values = np.array([3, 0, 6, 6, 1], "int32"), np.arange(5, dtype="float32")
    expected = x.numpy()
    expected[np.arange(5), columns] += values

    def added(x):
        return add_to_columns(2 * x - x, columns, values, in_place)

    np.testing.assert_allclose(added(x), expected, rtol=1e-6)
    np.testing.assert_allclose(tf.function(added)(x), expected, rtol=1e-6)
    if not in_place:
        np.testing.assert_allclose(tf.function(added, jit_compile=True)(x), expected, rtol=1e-6)
