"""`compile` refuses what cannot work with logits and an id a position, in one line, before it changes anything."""

import re

import keras
import numpy as np
import pytest

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Transformer

pytestmark = [pytest.mark.core, pytest.mark.trains]

X, Y = {"source": np.full((2, 5), 7), "target": np.full((2, 3), 8)}, np.full((2, 3), 9)
SIZES = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 4, "num_heads": 1, "d_ff": 4}
LOSS, METRICS = "Give LabelSmoothedCrossEntropy().", "Give MaskedAccuracy() or Perplexity()."
CANNOT = "cannot work with logits (B, T, V) and labels (B, T), an id each."


@pytest.fixture(scope="module")
def model():
    model = Transformer(vocabulary_size=23, **SIZES)
    model.compile("sgd", LabelSmoothedCrossEntropy())
    return model


def refused(error, message, model, *arguments, **options):
    before = model.optimizer, model.loss
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        model.compile(*arguments, **options)
    assert (model.optimizer, model.loss) == before


@pytest.mark.each_case
@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        ("mse", "'mse'"),
        ("categorical_crossentropy", "'categorical_crossentropy'"),
        ("binary_crossentropy", "'binary_crossentropy'"),
        ("KLDivergence", "'KLDivergence'"),
        (["mae"], "'mae'"),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "CategoricalCrossentropy"),
        (keras.losses.mean_squared_error, "mean_squared_error"),
    ],
)
def test_losses_of_predictions_with_the_labels_shape(model, loss, shown):
    refused(ValueError, f"loss={shown} {CANNOT} {LOSS}", model, "adam", loss)


def test_what_is_no_loss(model):
    refused(ValueError, f"loss='xent' is no loss of Keras. {LOSS}", model, "adam", "xent")
    message = f"loss must be a loss, a function or the name of a loss of Keras, got 0.1 (float). {LOSS}"
    refused(TypeError, message, model, "adam", 0.1)
    message = f"loss is a dictionary for the outputs 'logits', and the model has one output. {LOSS}"
    refused(ValueError, message, model, "adam", {"logits": "mse"})
    refused(ValueError, f"loss is a list of 2, and the model has one output. {LOSS}", model, "adam", ["mse", "mse"])


@pytest.mark.each_case
@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("mse", "'mse'"),
        ("categorical_accuracy", "'categorical_accuracy'"),
        ("f1_score", "'f1_score'"),
        (keras.metrics.AUC(), "AUC"),
        (keras.metrics.Precision(), "Precision"),
        (keras.metrics.Mean(), "Mean"),
    ],
)
def test_metrics_of_predictions_with_the_labels_shape(model, metric, shown):
    for argument in ("metrics", "weighted_metrics"):
        message = f"{argument}[1]={shown} {CANNOT} {METRICS}"
        refused(
            ValueError, message, model, "adam", LabelSmoothedCrossEntropy(), **{argument: [MaskedAccuracy(), metric]}
        )


def test_what_is_no_metric_and_no_optimizer(model):
    loss = LabelSmoothedCrossEntropy()
    refused(
        ValueError, f"metrics[0]='acuracy' is no metric of Keras. {METRICS}", model, "adam", loss, metrics=["acuracy"]
    )
    message = f"metrics[0] must be a metric, a function or a name, got 3 (int). {METRICS}"
    refused(TypeError, message, model, "adam", loss, metrics=[3])
    refused(ValueError, "optimizer='adm' is no optimizer of Keras. Did you mean 'adam'?", model, "adm", loss)
    message = "optimizer must be an optimizer of Keras, or its name, got 0.001 (float)."
    refused(TypeError, message, model, 0.001, loss)


def test_what_works_is_allowed(model):
    for loss in ("sparse_categorical_crossentropy", "crossentropy", "ctc", lambda labels, logits: 0.0, None):
        model.compile("sgd", loss)
    model.compile("sgd", {model.output_names[0]: LabelSmoothedCrossEntropy()}, metrics=["acc", lambda y, x: 0.0])
    top = keras.metrics.SparseTopKCategoricalAccuracy(k=2)
    model.compile("sgd", [LabelSmoothedCrossEntropy()], metrics=["accuracy", top], run_eagerly=True)
    assert all(np.all(np.array(variable) == 0) for variable in top.variables)  # the try has left no trace
    assert model.evaluate(X, Y, verbose=0, return_dict=True).keys() > {"loss", "accuracy"}


def test_a_model_that_gives_no_logits_takes_any_loss():
    class Lengths(Transformer):
        def call(self, *args, **kwargs):
            return keras.ops.mean(super().call(*args, **kwargs), axis=-1)  # (B, T)

    model = Lengths(vocabulary_size=23, **SIZES)
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    assert np.isfinite(model.test_on_batch(X, Y)).all()


def test_no_loss_and_no_optimizer():
    model = Transformer(vocabulary_size=23, **SIZES)
    model.compile("sgd", run_eagerly=True)
    message = "the model was compiled without a loss. Call compile(optimizer, loss=LabelSmoothedCrossEntropy())."
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError) as error:
            method(X, Y)
        assert str(error.value) == message  # JAX adds a note of its own
    model.compile(None, LabelSmoothedCrossEntropy(), run_eagerly=True)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))
    message = "the model was compiled without an optimizer. Call compile(optimizer, loss) first."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(X, Y)


def test_a_layer_may_add_the_only_loss():
    class Noted(Transformer):
        def call(self, *args, **kwargs):
            logits = super().call(*args, **kwargs)
            self.add_loss(keras.ops.mean(logits**2))
            return logits

    model = Noted(vocabulary_size=23, **SIZES)
    model.compile("sgd", run_eagerly=True)
    assert float(model.test_on_batch(X, Y)) > 0
    model = Transformer(vocabulary_size=23, **SIZES)
    model.encoder.activity_regularizer = keras.regularizers.L2(0.1)
    model.compile("sgd", run_eagerly=True)
    assert float(model.test_on_batch(X, Y)) > 0
