"""Settings that cannot be meant are named in the log, once for each `compile`."""

import keras
import numpy as np
import pytest

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, Transformer, TransformerSchedule
from keras_transformer.train_step.settings import steps_of_an_epoch

X = {"source": np.full((8, 5), 7), "target": np.full((8, 3), 8)}
Y = np.full((8, 3), 9)
EAGERLY = {"run_eagerly": True}  # a few updates are made before a graph of one is traced


def make_model(kind=Transformer):
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 4, "num_heads": 1, "d_ff": 4}
    return kind(vocabulary_size=23, **sizes)


class OwnCall(Transformer):
    def call(self, *args, **kwargs):
        return keras.ops.softmax(super().call(*args, **kwargs))


SPARSE = keras.losses.SparseCategoricalCrossentropy
PROBABILITIES = "takes the model's logits for probabilities: it needs from_logits=True"
PADDING = "counts padding: it needs ignore_class=0"
LOSSES = [
    ("sparse_categorical_crossentropy", f"SparseCategoricalCrossentropy {PROBABILITIES}, and {PADDING}"),
    (keras.losses.sparse_categorical_crossentropy, f"SparseCategoricalCrossentropy {PROBABILITIES}, and {PADDING}"),
    (SPARSE(), f"SparseCategoricalCrossentropy {PROBABILITIES}, and {PADDING}"),
    (SPARSE(from_logits=True), f"SparseCategoricalCrossentropy {PADDING}"),
    (SPARSE(ignore_class=0), f"SparseCategoricalCrossentropy {PROBABILITIES}"),
    ("crossentropy", f"SparseCategoricalCrossentropy {PROBABILITIES}, and {PADDING}"),
    ([SPARSE(from_logits=True)], f"SparseCategoricalCrossentropy {PADDING}"),
    ("ctc", "ctc is not made for logits (B, T, V) and labels (B, T), a piece each"),
]


@pytest.mark.parametrize("loss, fault", LOSSES, ids=range(len(LOSSES)))
def test_a_loss_that_cannot_be_meant_is_named_once(loss, fault, caplog):
    make_model().compile("sgd", loss)
    assert caplog.messages == [
        f"The loss {fault}. LabelSmoothedCrossEntropy() takes logits and counts only target tokens."
    ]


def test_losses_that_can_be_meant_are_not(caplog):
    make_model().compile("sgd", SPARSE(from_logits=True, ignore_class=0))
    make_model().compile("sgd", LabelSmoothedCrossEntropy())
    make_model().compile("sgd", lambda labels, logits: 0.0)
    make_model(OwnCall).compile("sgd", SPARSE(ignore_class=0))  # the model gives probabilities
    make_model().compile("sgd", LabelSmoothedCrossEntropy(), metrics=[MaskedAccuracy(), Perplexity()])
    assert not caplog.messages


@pytest.mark.parametrize("metric", ["accuracy", "acc", keras.metrics.SparseCategoricalAccuracy()])
def test_a_metric_that_counts_padding_is_named(metric, caplog):
    for argument in ("metrics", "weighted_metrics"):
        caplog.clear()
        make_model().compile("sgd", LabelSmoothedCrossEntropy(), **{argument: [metric]})
        (message,) = caplog.messages
        assert message.endswith("counts padding. MaskedAccuracy() and Perplexity() count only target tokens.")


def test_a_constant_rate_above_any_that_trains_is_named(caplog):
    make_model().compile(keras.optimizers.Adam(1e-3), LabelSmoothedCrossEntropy())
    make_model().compile(keras.optimizers.SGD(0.5), LabelSmoothedCrossEntropy())
    assert not caplog.messages
    cosine = keras.optimizers.schedules.CosineDecay(0.0, 30, warmup_target=0.5, warmup_steps=10)
    make_model().compile(keras.optimizers.SGD(cosine), LabelSmoothedCrossEntropy())
    assert not caplog.messages
    for rate in (0.5, cosine, keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)):
        for optimizer in (keras.optimizers.AdamW(rate), keras.optimizers.Nadam(rate)):
            caplog.clear()
            make_model().compile(optimizer, LabelSmoothedCrossEntropy())
            make_model().compile(keras.optimizers.LossScaleOptimizer(optimizer), LabelSmoothedCrossEntropy())
            start = f"The learning rate is 0.5, and {type(optimizer).__name__} usually diverges above 0.02."
            assert len(caplog.messages) == 2 and all(message.startswith(start) for message in caplog.messages)


def adam(warmup):
    return keras.optimizers.Adam(TransformerSchedule.with_peak(1e-3, 4, warmup))


def scaled_adam_with_cosine(warmup):
    cosine = keras.optimizers.schedules.CosineDecay(0.0, 30, warmup_target=1e-3, warmup_steps=warmup)
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Nadam(cosine))


def warnings_of_fit(caplog, optimizer, **options):
    caplog.clear()
    model = make_model()
    model.compile(optimizer, LabelSmoothedCrossEntropy(), run_eagerly=True)
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True))
    for _ in range(2):
        model.fit(X, Y, batch_size=3, verbose=0, callbacks=[stop], **options)  # three updates an epoch
    return caplog.messages


@pytest.mark.parametrize("made", [adam, scaled_adam_with_cosine])
def test_a_warmup_that_takes_most_of_the_run_is_named_once(made, caplog):
    assert warnings_of_fit(caplog, made(3), epochs=2) == []
    (message,) = warnings_of_fit(caplog, made(4), epochs=2)
    assert message == (
        "The learning rate rises for warmup_steps=4 updates, and training ends after 6: it reaches its highest rate "
        "late. Set warmup_steps to about 1, or train for more epochs."
    )
    (message,) = warnings_of_fit(caplog, made(13), epochs=2)
    assert "and training ends after 6: it never reaches its highest rate." in message


@pytest.mark.parametrize("shifted", [True, False])
def test_labels_that_are_the_ids_of_the_target_are_named_once(shifted, caplog):
    model = make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), run_eagerly=True)
    for _ in range(2):
        model.fit(X, Y if shifted else X["target"], verbose=0)
    found = ["y holds the same ids as x['target']: the decoder reads each label" in each for each in caplog.messages]
    assert found == ([] if shifted else [True])


def test_the_steps_of_an_epoch():
    class Batches(keras.utils.PyDataset):
        num_batches = 11

    assert steps_of_an_epoch({"x": X}) == 1
    assert steps_of_an_epoch({"x": X, "batch_size": 3}) == 3
    assert steps_of_an_epoch({"x": X, "batch_size": 3, "validation_split": 0.5}) == 2
    assert steps_of_an_epoch({"x": X, "batch_size": 3, "steps_per_epoch": 7}) == 7
    assert steps_of_an_epoch({"x": Batches()}) == 11
    assert steps_of_an_epoch({"x": (batch for batch in [])}) is None


def test_a_compile_leaves_no_gradient_norm_of_an_earlier_one(caplog):
    model = make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), metrics=[MaskedAccuracy()], log_gradient_norm=True, **EAGERLY)
    assert sorted(model.fit(X, Y, verbose=0).history) == ["accuracy", "gradient_norm", "loss"]
    model.compile("sgd", LabelSmoothedCrossEntropy(), metrics=[], **EAGERLY)
    assert sorted(model.fit(X, Y, verbose=0).history) == ["loss"]
    assert "gradient_norm" not in [metric.name for metric in model.metrics]
    model.compile("sgd", LabelSmoothedCrossEntropy(), log_gradient_norm=True, **EAGERLY)
    assert model.fit(X, Y, verbose=0).history["gradient_norm"][0] > 0
    assert not caplog.messages


def test_a_compile_that_is_refused_changes_nothing():
    model = make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), metrics=[MaskedAccuracy()], **EAGERLY)
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"^accumulate_steps=2 needs a loss"):
        model.compile("adam", "sparse_categorical_crossentropy", accumulate_steps=2)
    assert model.optimizer is optimizer and isinstance(model.loss, LabelSmoothedCrossEntropy)
    assert sorted(model.fit(X, Y, verbose=0).history) == ["accuracy", "loss"]


@pytest.mark.parametrize("log_gradient_norm", [False, True])
def test_a_loaded_model_has_the_metrics_of_the_last_compile(log_gradient_norm, tmp_path):
    model = make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), log_gradient_norm=not log_gradient_norm, **EAGERLY)
    model.fit(X, Y, verbose=0)
    model.compile("sgd", LabelSmoothedCrossEntropy(), log_gradient_norm=log_gradient_norm, **EAGERLY)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert ("gradient_norm" in loaded.fit(X, Y, verbose=0).history) is log_gradient_norm


def test_a_fit_that_ends_early_leaves_no_start_for_the_next(monkeypatch):
    class Failing(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model._initial_epoch = 5  # what a resuming callback does
            raise KeyboardInterrupt

    model = make_model()
    model.compile("sgd", LabelSmoothedCrossEntropy(), **EAGERLY)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[Failing()])
    assert model.fit(X, Y, epochs=2, verbose=0).epoch == [0, 1]
