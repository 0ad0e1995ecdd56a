"""Word-level distillation is compared with its formula in NumPy: values, gradients, and what a student learns."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import gradients, values

from keras_transformer import LabelSmoothedCrossEntropy, Transformer
from keras_transformer.losses import WordLevelDistillation

pytestmark = pytest.mark.core

V = 7
SOURCE = np.array([[3, 5, 1], [6, 3, 0]], "int32")
TARGET = np.array([[2, 3, 5, 1, 0], [2, 6, 3, 0, 0]], "int32")
LABELS = np.array([[3, 5, 1, 4, 0], [6, 3, 4, 0, 0]], "int32")
LOGITS = np.random.default_rng(0).normal(size=(2, 5, V)).astype("float32") * 3
INPUTS = (SOURCE, TARGET)
DATA = (INPUTS, LABELS)


def make(seed, **changes):
    """A small model with random weights that are large enough for its probabilities to differ."""
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 8, "num_heads": 2, "d_ff": 11, "dropout": 0.0}
    model = Transformer(**{"vocabulary_size": V, **sizes, **changes})
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def softmax(logits):
    powers = np.exp(logits.astype("float64"))
    return powers / powers.sum(-1, keepdims=True)


def dense(teachers, weight, epsilon):
    """The loss in float64 and its gradient for LOGITS. Both come from one target: (1-λ)·smoothed labels + λ·q."""
    q = np.mean([softmax(values(teacher(INPUTS))) for teacher in teachers], axis=0)
    target = (1 - weight) * ((1 - epsilon) * np.eye(V)[LABELS] + epsilon / V) + weight * q
    mask, p = (LABELS != 0) / (LABELS != 0).sum(), softmax(LOGITS)
    return -((target * np.log(p)).sum(-1) * mask).sum(), (p - target) * mask[..., None]


@pytest.mark.parametrize(("count", "weight", "epsilon"), [(1, 0.5, 0.1), (1, 1.0, 0.1), (1, 0.0, 0.0), (3, 0.3, 0.2)])
def test_equals_the_formula_with_its_gradient(count, weight, epsilon):
    teachers = [make(seed) for seed in range(count)]
    loss = WordLevelDistillation(teachers if count > 1 else teachers[0], weight, epsilon)
    divisor = ops.convert_to_tensor(7.0)
    expected, gradient = dense(teachers, weight, epsilon)
    assert float(loss.of_logits(LABELS, LOGITS, divisor, inputs=INPUTS)) == pytest.approx(expected, rel=1e-6)
    found = gradients(lambda logits: loss.of_logits(LABELS, logits, divisor, inputs=INPUTS), LOGITS)[0]
    np.testing.assert_allclose(values(found), gradient, atol=1e-7)
    weighted = loss.of_logits(LABELS, LOGITS, divisor, np.array([0.0, 2.0], "float32"), INPUTS)
    twice = loss.of_logits(np.where([[False], [True]], LABELS, 0), LOGITS, divisor, inputs=INPUTS)
    assert float(weighted) == pytest.approx(2 * float(twice), rel=1e-6)


@pytest.mark.trains
def test_the_teacher_teaches_itself_nothing_and_another_everything():
    """Where p is q, the gradient p - q is 0. Another student comes closer with each step."""
    teacher, student = make(0), make(1)
    before = teacher.get_weights()
    teacher.compile(keras.optimizers.SGD(1.0), loss=WordLevelDistillation(teacher, weight=1.0))
    teacher.fit(INPUTS, LABELS, verbose=0)
    for weight, same in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, same, atol=1e-6)
    student.compile(keras.optimizers.Adam(0.01), loss=WordLevelDistillation(teacher, weight=1.0))
    losses = student.fit(INPUTS, LABELS, epochs=30, verbose=0).history["loss"]
    q, mask = softmax(values(teacher(INPUTS))), LABELS != 0
    entropy = -(q * np.log(q)).sum(-1)[mask].mean()
    assert losses[0] - entropy > 5 * (losses[-1] - entropy) > 0
    assert len(student.trainable_variables) == len(teacher.trainable_variables)
    for weight, same in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, same, atol=1e-6)


@pytest.mark.trains
def test_without_the_teachers_weight_it_is_the_loss_of_the_labels(caplog):
    """So are the logs of training and evaluation, with weights of the sentences. The log does not warn of logits."""
    found, expected = make(1), make(1)
    found.compile("sgd", loss=WordLevelDistillation(make(0), weight=0.0, epsilon=0.2))
    expected.compile("sgd", loss=LabelSmoothedCrossEntropy(0.2))
    weights = np.array([0.5, 2.0], "float32")
    logs = []
    for model in (found, expected):
        logs += [
            model.fit(*DATA, sample_weight=weights, verbose=0).history["loss"] + [model.evaluate(*DATA, verbose=0)]
        ]
        assert ("computes the logits of whole batches" in caplog.text) == (model is expected)
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    for weight, goal in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, goal, atol=1e-6)


@pytest.mark.trains
def test_a_saved_student_has_no_teacher(tmp_path):
    student = make(1)
    student.compile("adam", loss=WordLevelDistillation(make(0), weight=0.25, epsilon=0.2))
    student.save(tmp_path / "student.keras")
    student.compile("adam", loss=LabelSmoothedCrossEntropy())
    student.save(tmp_path / "plain.keras")
    sizes = [(tmp_path / name).stat().st_size for name in ("student.keras", "plain.keras")]
    assert sizes[0] < sizes[1] + 500
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert (loaded.loss.weight, loaded.loss.epsilon) == (0.25, 0.2)
    with pytest.raises(ValueError, match=r"was loaded from a file, .* the teacher\. Compile the model again"):
        loaded.evaluate(INPUTS, LABELS, verbose=0)


@pytest.mark.trains
def test_what_does_not_fit_is_refused_at_once():
    student, learned = make(1), {"positions": "learned", "max_length": 9}
    for teacher, options, error, message in (
        ("runs/teacher", {}, TypeError, r"teacher must be a Keras model, .* got 'runs/teacher' \(str\)"),
        ([student, None], {}, TypeError, r"teacher\[1\] must be a Keras model"),
        (student, {"weight": 1.5}, ValueError, r"weight must be in \[0, 1\], got 1.5"),
        (student, {"epsilon": 1}, ValueError, r"epsilon must be in \[0, 1\)"),
    ):
        with pytest.raises(error, match=message):
            WordLevelDistillation(teacher, **options)
    for teacher, message in (
        (
            make(0, vocabulary_size=V + 1),
            "teacher has 8 source pieces and the student's vocabulary_size is 7",
        ),
        ([make(0), make(0, target_vocabulary_size=5, tie_embeddings="target")], r"teacher\[1\] has 5 target pieces"),
        (make(0, **learned), "teacher has learned positions for max_length=9, and the student has positions for any"),
    ):
        with pytest.raises(ValueError, match=message):
            student.compile("adam", loss=WordLevelDistillation(teacher))
    make(1, **learned).compile("adam", loss=WordLevelDistillation(make(0, **learned)))
    loss, [name] = WordLevelDistillation(make(0)), student.output_names
    for given, options in (([loss], {}), ({name: loss}, {}), (loss, {"loss_weights": 2})):
        with pytest.raises(ValueError, match="WordLevelDistillation must be given by itself: no list, no dictionary"):
            student.compile("adam", loss=given, **options)
    with pytest.raises(ValueError, match="needs the inputs of the model, for the teacher"):
        loss(LABELS, LOGITS)
