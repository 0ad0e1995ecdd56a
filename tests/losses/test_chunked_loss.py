"""The loss in chunks is compared with its dense definition, and training with it is compared with whole logits."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import gradients, values

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, Transformer
from keras_transformer.losses import chunks, label_smoothing
from keras_transformer.losses.chunks import OutputMap, loss_of_vectors

pytestmark = pytest.mark.core

B, T, D, V = 3, 5, 11, 7
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(B, T, D)).astype("float32")
MATRIX = RNG.normal(size=(V, D)).astype("float32")
BIAS = RNG.normal(size=V).astype("float32")
LABELS = np.array([[3, 5, 1, 0, 0], [6, 3, 4, 4, 2], [0, 0, 0, 0, 0]], "int32")
WEIGHTS = (RNG.uniform(0.5, 2, (B, T)) * (LABELS != 0)).astype("float32")
MOST = [1, 3, 4, 1024]  # the most tokens of a chunk
EVERYWHERE = [(3, 1), (1024, 64)]  # several chunks, and one with padding


def dense(bias, epsilon):
    """The loss, log p of the labels, and the gradients of vectors, matrix and bias, in float64."""
    x, matrix = VECTORS.astype("float64"), MATRIX.astype("float64")
    logits = x @ matrix.T + bias
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = (1 - epsilon) * np.eye(V)[LABELS] + epsilon / V
    to_logits = (np.exp(log_p) - target) * WEIGHTS[..., None]
    loss = -((target * log_p).sum(-1) * WEIGHTS).sum()
    logs = np.take_along_axis(log_p, LABELS[..., None], -1)[..., 0]
    return loss, logs, (to_logits @ matrix, np.einsum("btv,btd->vd", to_logits, x), to_logits.sum((0, 1)))


def compute(vectors, matrix, bias, epsilon, training, dtype="float32"):
    """The result of `loss_of_vectors` for LABELS and WEIGHTS."""
    labels, weights = ops.convert_to_tensor(LABELS), ops.convert_to_tensor(WEIGHTS)
    vectors, output_map = ops.cast(vectors, dtype), OutputMap(matrix, bias)
    return loss_of_vectors(vectors, output_map, labels, weights, epsilon, training, with_hits=True)


def dense_cases():
    """Every size of chunks, with and without bias and smoothing. JAX has the first, and two with both."""
    for most, multiple in [(most, 1) for most in MOST] + [(4, 8), (1024, 64)]:
        for bias, epsilon in itertools.product([None, BIAS], [0.0, 0.1]):
            name = f"{most}-{multiple}-{'no bias' if bias is None else 'bias'}-{epsilon}"
            marks = pytest.mark.each_case if (most, multiple) in EVERYWHERE and bias is not None and epsilon else ()
            yield pytest.param(most, multiple, bias, epsilon, id=name, marks=marks)


@pytest.mark.trains
@pytest.mark.parametrize(("most", "multiple", "bias", "epsilon"), list(dense_cases()))
def test_equals_the_dense_definition(monkeypatch, most, multiple, bias, epsilon):
    """On a GPU, rows and pieces are padded to a multiple. That is tested, too."""
    monkeypatch.setattr(chunks, "MOST_TOKENS", most)
    monkeypatch.setattr(chunks, "aligned", lambda size: -(-size // multiple) * multiple)
    loss, logs, towards = dense(0 if bias is None else bias, epsilon)
    hits = (VECTORS @ MATRIX.T + (0 if bias is None else bias)).argmax(-1) == LABELS
    for training in (True, False):
        result = compute(VECTORS, MATRIX, bias, epsilon, training)
        np.testing.assert_allclose(values(result.loss), loss, rtol=2e-6)
        np.testing.assert_allclose(values(result.log_probabilities), logs, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(values(result.hits), hits)
    given = (VECTORS, MATRIX) if bias is None else (VECTORS, MATRIX, bias)

    def tripled(vectors, matrix, bias=None):
        return 3 * compute(vectors, matrix, bias, epsilon, training=True).loss

    for found, expected in zip(gradients(tripled, *given), towards, strict=False):
        np.testing.assert_allclose(values(found), 3 * expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("most", MOST)
def test_a_chunk_has_no_more_tokens_than_allowed(monkeypatch, most):
    seen = []

    def watched(logits, labels):
        seen.append(tuple(logits.shape))
        return likelihood(logits, labels)

    likelihood = chunks.likelihood
    monkeypatch.setattr(chunks, "MOST_TOKENS", most)
    monkeypatch.setattr(chunks, "likelihood", watched)
    compute(VECTORS, MATRIX, None, 0.1, training=False)
    rows = {shape[0] for shape in seen}  # all chunks have the same size; JAX traces them once
    assert len(rows) == 1 and rows.pop() <= most


@pytest.mark.trains
def test_labels_whose_probability_rounds_to_zero(monkeypatch):
    monkeypatch.setattr(chunks, "MOST_TOKENS", 4)
    bias = np.zeros(V, "float32")
    bias[3] = -300
    loss, _, (to_vectors, *_) = dense(bias, 0.1)
    np.testing.assert_allclose(values(compute(VECTORS, MATRIX, bias, 0.1, training=False).loss), loss, rtol=2e-6)
    [found] = gradients(lambda x: compute(x, MATRIX, bias, 0.1, training=True).loss, VECTORS)
    np.testing.assert_allclose(values(found), to_vectors, rtol=1e-5, atol=1e-5)


def test_bfloat16_products():
    """Vectors and matrix are rounded. The products may be rounded, too: by up to 2⁻⁹ of logits below 16."""
    x, matrix = (values(ops.cast(ops.cast(x, "bfloat16"), "float32")) for x in (VECTORS, MATRIX))
    logits = x.astype("float64") @ matrix.T
    assert 1 < abs(logits).max() < 16
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(log_p, LABELS[..., None], -1)[..., 0]
    found = values(compute(VECTORS, MATRIX, None, 0.0, training=True, dtype="bfloat16").log_probabilities)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * 16 / 2**9)
    assert abs(found - dense(0, 0.0)[1]).max() > 1e-3


class OnLogits(Transformer):
    """A model that computes the logits of whole batches with every loss."""

    def takes_fused_way(self, sample_weight):
        return False


BATCHES = [  # rows of source, target and label ids
    ([[4, 5, 6], [7, 3, 0]], [[2, 8, 9, 4], [2, 5, 0, 0]], [[8, 9, 4, 3], [5, 3, 0, 0]]),
    ([[9, 3, 0], [6, 6, 3]], [[2, 4, 0, 0], [2, 0, 0, 0]], [[4, 3, 0, 0], [3, 0, 0, 0]]),
    ([[5, 4, 3], [3, 0, 0]], [[2, 7, 7, 7], [0, 0, 0, 0]], [[7, 7, 7, 3], [0, 0, 0, 0]]),
]


SIZES = {"vocabulary_size": 13, "d_model": 16, "num_heads": 2, "d_ff": 19}
SIZES |= {"num_encoder_layers": 1, "num_decoder_layers": 1, "dropout": 0.0}


def after_three_updates(make, policy, accumulate_steps=1, start=None, **options):
    """The weights after three updates, the logs of training, and the logs of an evaluation."""
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


@pytest.mark.trains
@pytest.mark.parametrize(
    "options", [{"tie_embeddings": "none", "output_bias": True, "norm": "pre"}, {"accumulate_steps": 2}]
)
def test_trains_as_on_logits(monkeypatch, options):
    monkeypatch.setattr(chunks, "MOST_TOKENS", 3)
    expected = after_three_updates(OnLogits, "float32", **options)
    used = []

    def noted(*arguments, training, with_hits, **options):
        used.append((training, with_hits))
        return loss_of_vectors(*arguments, training=training, with_hits=with_hits, **options)

    monkeypatch.setattr(label_smoothing, "loss_of_vectors", noted)
    found = after_three_updates(Transformer, "float32", **options)
    assert set(used) == {(True, True), (False, True)}
    for weight, goal in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(weight, goal, rtol=0, atol=1e-6)
    for logs, goal in zip(found[1:], expected[1:], strict=True):
        assert logs == {name: pytest.approx(value, rel=1e-5) for name, value in goal.items()}


@pytest.mark.trains
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_bfloat16_ends_as_close_to_float32_as_on_logits(monkeypatch, policy):
    monkeypatch.setattr(chunks, "MOST_TOKENS", 3)
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


class OwnCall(Transformer):
    """A model whose `call` limits the logits softly to ±3."""

    def call(self, *args, **kwargs):
        return 3 * ops.tanh(super().call(*args, **kwargs) / 3)


def steps_of(monkeypatch):
    """A list that gets one entry for each step that computes the loss from vectors."""
    steps = []

    def noted(*arguments, **options):
        steps.append(options)
        return loss_of_vectors(*arguments, **options)

    monkeypatch.setattr(label_smoothing, "loss_of_vectors", noted)
    return steps


@pytest.mark.trains
@pytest.mark.parametrize(
    ("make", "policy", "loss", "metrics", "sample_weight", "reason"),
    [
        (Transformer, "float32", LabelSmoothedCrossEntropy, (), None, None),
        (Transformer, "mixed_bfloat16", LabelSmoothedCrossEntropy, (Perplexity,), None, None),
        (Transformer, "float32", OtherLoss, (), None, "the loss is OtherLoss, not LabelSmoothedCrossEntropy"),
        (
            *(Transformer, "float32", LabelSmoothedCrossEntropy, (Perplexity, OtherMetric), None),
            "the metrics OtherMetric are not among MaskedAccuracy and Perplexity",
        ),
        (OwnLoss, "float32", LabelSmoothedCrossEntropy, (), None, "OwnLoss has its own compute_loss"),
        (OwnMetrics, "float32", LabelSmoothedCrossEntropy, (), None, "OwnMetrics has its own compute_metrics"),
        (OwnCall, "float32", LabelSmoothedCrossEntropy, (), None, "OwnCall has its own call"),
        (Transformer, "mixed_float16", LabelSmoothedCrossEntropy, (), None, "the range of float16 is too small"),
        (Transformer, "float32", LabelSmoothedCrossEntropy, (), np.ones((2, 1)), "the data have sample weights"),
    ],
)
def test_the_fused_way_is_taken_or_the_log_says_why_not(
    monkeypatch, caplog, make, policy, loss, metrics, sample_weight, reason
):
    model, steps = make(**SIZES, dtype=policy), steps_of(monkeypatch)
    model.compile("sgd", loss(), metrics=[metric() for metric in metrics], run_eagerly=True)
    source, target, labels = (np.array(rows, "int32") for rows in BATCHES[0])
    x = {"source": source, "target": target}
    for _ in range(2):
        model.test_on_batch(x, labels, sample_weight)
    assert len(steps) == (2 if reason is None else 0)
    lines = [record.getMessage() for record in caplog.records if "logits of whole batches" in record.getMessage()]
    assert len(lines) == (0 if reason is None else 1)
    assert all(reason in line for line in lines)


@pytest.mark.trains
def test_a_subclass_trains_and_evaluates_with_its_own_call():
    model, x = (
        OwnCall(**SIZES),
        {name: np.array(rows, "int32") for name, rows in zip(("source", "target"), BATCHES[0], strict=False)},
    )
    labels, loss = np.array(BATCHES[0][2], "int32"), LabelSmoothedCrossEntropy(0.1)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[Perplexity()])
    expected = float(loss(labels, model(x)))
    assert expected != pytest.approx(float(loss(labels, Transformer.call(model, x))), rel=1e-3)
    for logs in (model.test_on_batch(x, labels, return_dict=True), model.train_on_batch(x, labels, return_dict=True)):
        assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.trains
def test_loss_weights_are_used():
    source, target, labels = (np.array(rows, "int32") for rows in BATCHES[0])
    losses = {}
    for weight in (None, 2.0):
        keras.utils.set_random_seed(3)
        model = Transformer(**SIZES)
        model.compile("sgd", LabelSmoothedCrossEntropy(0.1), loss_weights=weight)
        losses[weight] = model.test_on_batch({"source": source, "target": target}, labels, return_dict=True)["loss"]
    assert losses[2.0] == pytest.approx(2 * losses[None], rel=1e-5)


@pytest.mark.trains
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="float64 is switched off there")
@pytest.mark.parametrize("options", [{}, {"accumulate_steps": 2, "output_bias": True, "tie_embeddings": "none"}])
def test_float64_trains_as_on_logits(options):
    """Only the weights are compared: the loss is computed in float32."""
    found, expected = (after_three_updates(make, "float64", **options)[0] for make in (Transformer, OnLogits))
    for weight, goal in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, goal, rtol=0, atol=1e-6)


@pytest.mark.trains
def test_a_compile_without_metrics_keeps_the_metrics_of_the_last_one(monkeypatch):
    """Keras keeps them, too. They decide whether logits of whole batches are needed."""
    model = Transformer(**SIZES)
    source, target, labels = (np.array(rows, "int32") for rows in BATCHES[0])
    x, loss = {"source": source, "target": target}, LabelSmoothedCrossEntropy(0.1)
    steps = steps_of(monkeypatch)
    for metrics, is_fused in (([MaskedAccuracy()], True), ([OtherMetric()], False), ([], True)):
        model.compile("sgd", loss, metrics=metrics, run_eagerly=True)
        expected = model.test_on_batch(x, labels, return_dict=True)
        model.compile("sgd", loss, run_eagerly=True)
        assert model.test_on_batch(x, labels, return_dict=True) == expected
        assert len(steps) == (2 if is_fused else 0)
        steps.clear()
