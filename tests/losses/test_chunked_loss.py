"""Output map and loss in chunks against their dense definition, and training with them against training on logits."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import gradients, values

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    MaskedAccuracy,
    Perplexity,
    Transformer,
    chunked_loss,
    training_step,
)
from keras_transformer.losses.chunks import OutputMap, logits_left_to

pytestmark = pytest.mark.core

B, T, D, V = 3, 5, 11, 7
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(B, T, D)).astype("float32")
MATRIX = RNG.normal(size=(V, D)).astype("float32")
BIAS = RNG.normal(size=V).astype("float32")
LABELS = np.array([[3, 5, 1, 0, 0], [6, 3, 4, 4, 2], [0, 0, 0, 0, 0]], "int32")
WEIGHTS = (RNG.uniform(0.5, 2, (B, T)) * (LABELS != 0)).astype("float32")
MOST = [1, 3, 4, 1024]  # tokens at a time


def dense(bias, epsilon):
    """The loss, log p of the labels, and the gradients towards vectors, matrix and bias, in float64."""
    x, matrix = VECTORS.astype("float64"), MATRIX.astype("float64")
    logits = x @ matrix.T + bias
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = (1 - epsilon) * np.eye(V)[LABELS] + epsilon / V
    to_logits = (np.exp(log_p) - target) * WEIGHTS[..., None]
    loss = -((target * log_p).sum(-1) * WEIGHTS).sum()
    logs = np.take_along_axis(log_p, LABELS[..., None], -1)[..., 0]
    return loss, logs, (to_logits @ matrix, np.einsum("btv,btd->vd", to_logits, x), to_logits.sum((0, 1)))


def judge(vectors, matrix, bias, epsilon, training, dtype="float32"):
    output_map = OutputMap(matrix, bias, dtype, training, hits=True)
    loss = output_map.judge(vectors, ops.convert_to_tensor(LABELS), ops.convert_to_tensor(WEIGHTS), epsilon)
    assert loss is output_map.judged.loss
    return output_map.judged


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("bias", [None, BIAS], ids=["no bias", "bias"])
@pytest.mark.parametrize(("most", "multiple"), [(most, 1) for most in MOST] + [(4, 8), (1024, 64)])
def test_equals_the_dense_definition(monkeypatch, most, multiple, bias, epsilon):
    """Also where rows and pieces are filled up to a multiple, as on a GPU."""
    monkeypatch.setattr(chunked_loss, "MOST_TOKENS", most)
    monkeypatch.setattr(chunked_loss, "aligned", lambda size: -(-size // multiple) * multiple)
    loss, logs, towards = dense(0 if bias is None else bias, epsilon)
    hits = (VECTORS @ MATRIX.T + (0 if bias is None else bias)).argmax(-1) == LABELS
    for training in (True, False):
        judged = judge(VECTORS, MATRIX, bias, epsilon, training)
        np.testing.assert_allclose(values(judged.loss), loss, rtol=2e-6)
        np.testing.assert_allclose(values(judged.log_probabilities), logs, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(values(judged.hits), hits)
    given = (VECTORS, MATRIX) if bias is None else (VECTORS, MATRIX, bias)

    def tripled(vectors, matrix, bias=None):
        return 3 * judge(vectors, matrix, bias, epsilon, training=True).loss

    for found, expected in zip(gradients(tripled, *given), towards, strict=False):
        np.testing.assert_allclose(values(found), 3 * expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("most", MOST)
def test_no_more_tokens_at_a_time_than_said(monkeypatch, most):
    seen = []

    def watched(logits, labels):
        seen.append(tuple(logits.shape))
        return likelihood(logits, labels)

    likelihood = chunked_loss.likelihood
    monkeypatch.setattr(chunked_loss, "MOST_TOKENS", most)
    monkeypatch.setattr(chunked_loss, "likelihood", watched)
    judge(VECTORS, MATRIX, None, 0.1, training=False)
    rows = {shape[0] for shape in seen}  # all chunks are of one size; on JAX they are traced once
    assert len(rows) == 1 and rows.pop() <= most


def test_labels_whose_probability_rounds_to_zero(monkeypatch):
    monkeypatch.setattr(chunked_loss, "MOST_TOKENS", 4)
    bias = np.zeros(V, "float32")
    bias[3] = -300
    loss, _, (to_vectors, *_) = dense(bias, 0.1)
    np.testing.assert_allclose(values(judge(VECTORS, MATRIX, bias, 0.1, training=False).loss), loss, rtol=2e-6)
    [found] = gradients(lambda x: judge(x, MATRIX, bias, 0.1, training=True).loss, VECTORS)
    np.testing.assert_allclose(values(found), to_vectors, rtol=1e-5, atol=1e-5)


def test_bfloat16_products():
    """Of rounded vectors and matrix, and perhaps rounded themselves: up to 2⁻⁹ of logits below 16."""
    x, matrix = (values(ops.cast(ops.cast(x, "bfloat16"), "float32")) for x in (VECTORS, MATRIX))
    logits = x.astype("float64") @ matrix.T
    assert 1 < abs(logits).max() < 16
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(log_p, LABELS[..., None], -1)[..., 0]
    found = values(judge(VECTORS, MATRIX, None, 0.0, training=True, dtype="bfloat16").log_probabilities)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * 16 / 2**9)
    assert abs(found - dense(0, 0.0)[1]).max() > 1e-3


class OnLogits(Transformer):
    """Gives its loss logits, whatever loss it has."""

    def logits_left_out(self, *args, **kwargs):
        return contextlib.nullcontext()


BATCHES = [  # rows of source, target and label ids
    ([[4, 5, 6], [7, 3, 0]], [[2, 8, 9, 4], [2, 5, 0, 0]], [[8, 9, 4, 3], [5, 3, 0, 0]]),
    ([[9, 3, 0], [6, 6, 3]], [[2, 4, 0, 0], [2, 0, 0, 0]], [[4, 3, 0, 0], [3, 0, 0, 0]]),
    ([[5, 4, 3], [3, 0, 0]], [[2, 7, 7, 7], [0, 0, 0, 0]], [[7, 7, 7, 3], [0, 0, 0, 0]]),
]


SIZES = {"vocabulary_size": 13, "d_model": 16, "num_heads": 2, "d_ff": 19}
SIZES |= {"num_encoder_layers": 1, "num_decoder_layers": 1, "dropout": 0.0}


def after_three_updates(make, policy, accumulate_steps=1, start=None, **options):
    """The weights, and the logs of training and of an evaluation."""
    keras.utils.set_random_seed(3)
    model = make(**SIZES, dtype=policy, **options)
    if start is not None:
        model.set_weights(start)
    keras.utils.set_random_seed(3)
    metrics = [MaskedAccuracy(), Perplexity()]
    model.compile(
        keras.optimizers.SGD(0.5), LabelSmoothedCrossEntropy(0.1), metrics=metrics, accumulate_steps=accumulate_steps
    )
    source, target, labels = (np.concatenate([np.array(b[i], "int32") for b in BATCHES]) for i in range(3))
    data = {"x": {"source": source, "target": target}, "y": labels, "batch_size": 2, "verbose": 0}
    logs = model.fit(**data, shuffle=False).history
    return model.get_weights(), logs, model.evaluate(**data, return_dict=True)


@pytest.mark.parametrize(
    "options", [{"tie_embeddings": "none", "output_bias": True, "norm": "pre"}, {"accumulate_steps": 2}]
)
def test_trains_as_on_logits(monkeypatch, options):
    monkeypatch.setattr(chunked_loss, "MOST_TOKENS", 3)
    expected = after_three_updates(OnLogits, "float32", **options)
    used = []

    def noted(output_map):
        used.append((output_map.training, output_map.hits))
        return logits_left_to(output_map)

    monkeypatch.setattr(training_step, "logits_left_to", noted)
    found = after_three_updates(Transformer, "float32", **options)
    assert set(used) == {(True, True), (False, True)}
    for weight, goal in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(weight, goal, rtol=0, atol=1e-6)
    for logs, goal in zip(found[1:], expected[1:], strict=True):
        assert logs == {name: pytest.approx(value, rel=1e-5) for name, value in goal.items()}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_bfloat16_ends_as_near_to_float32_as_on_logits(monkeypatch, policy):
    monkeypatch.setattr(chunked_loss, "MOST_TOKENS", 3)
    start = [weight.astype("bfloat16").astype("float32") for weight in Transformer(**SIZES).get_weights()]
    goal = after_three_updates(OnLogits, "float32", start=start)[0]

    def distance(make):
        found = after_three_updates(make, policy, start=start)[0]
        return np.sqrt(sum(np.square(x.astype("float32") - y).sum() for x, y in zip(found, goal, strict=True)))

    assert 0 < distance(Transformer) < 1.5 * distance(OnLogits)


class OtherLoss(LabelSmoothedCrossEntropy):
    pass


class OtherMetric(MaskedAccuracy):
    pass


class OwnLoss(Transformer):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


class OwnMetrics(Transformer):
    def compute_metrics(self, *args, **kwargs):
        return super().compute_metrics(*args, **kwargs)


@pytest.mark.parametrize(
    ("make", "policy", "loss", "metrics", "sample_weight", "left_out"),
    [
        (Transformer, "float32", LabelSmoothedCrossEntropy, (), None, True),
        (Transformer, "mixed_bfloat16", LabelSmoothedCrossEntropy, (Perplexity,), None, True),
        (Transformer, "float32", OtherLoss, (), None, False),
        (Transformer, "float32", LabelSmoothedCrossEntropy, (Perplexity, OtherMetric), None, False),
        (OwnLoss, "float32", LabelSmoothedCrossEntropy, (), None, False),
        (OwnMetrics, "float32", LabelSmoothedCrossEntropy, (), None, False),
        (Transformer, "mixed_float16", LabelSmoothedCrossEntropy, (), None, False),
        (Transformer, "float32", LabelSmoothedCrossEntropy, (), np.ones((2, 1)), False),
    ],
)
def test_only_where_nobody_else_reads_logits(make, policy, loss, metrics, sample_weight, left_out):
    model = make(**SIZES, dtype=policy)
    model.compile("sgd", loss(), metrics=[metric() for metric in metrics], run_eagerly=True)
    source, target, labels = (np.array(rows, "int32") for rows in BATCHES[0])
    x = {"source": source, "target": target}
    model.test_on_batch(x, labels, sample_weight)
    with model.logits_left_out(sample_weight, training=True):
        assert model(x).shape == ((2, 4, 16) if left_out else (2, 4, 13))
    assert model(x).shape == (2, 4, 13)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="float64 is switched off there")
@pytest.mark.parametrize("options", [{}, {"accumulate_steps": 2, "output_bias": True, "tie_embeddings": "none"}])
def test_float64_trains_as_on_logits(options):
    """But for the loss, which is computed in float32."""
    found, expected = (after_three_updates(make, "float64", **options)[0] for make in (Transformer, OnLogits))
    for weight, goal in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, goal, rtol=0, atol=1e-6)


def test_metrics_of_the_last_compile_stay_where_none_are_given():
    """As Keras does: what they need is decided by them."""
    model = Transformer(**SIZES)
    source, target, labels = (np.array(rows, "int32") for rows in BATCHES[0])
    x, loss = {"source": source, "target": target}, LabelSmoothedCrossEntropy(0.1)
    for metrics, left_out in (([MaskedAccuracy()], True), ([OtherMetric()], False), ([], True)):
        model.compile("sgd", loss, metrics=metrics, run_eagerly=True)
        expected = model.test_on_batch(x, labels, return_dict=True)
        model.compile("sgd", loss, run_eagerly=True)
        assert model.test_on_batch(x, labels, return_dict=True) == expected
        with model.logits_left_out(None, training=True):
            assert model(x).shape[-1] == (16 if left_out else 13)


def test_the_context_ends_with_its_block():
    with pytest.raises(KeyError), logits_left_to(OutputMap(MATRIX, None, "float32", False, False)):
        raise KeyError
    assert chunked_loss.output_map_of_the_loss() is None
