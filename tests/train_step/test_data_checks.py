"""Data that do not fit the model are refused in one line, before the first step where that is possible."""

import functools
from collections import namedtuple
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_transformer import LabelSmoothedCrossEntropy, Transformer

pytestmark = pytest.mark.core

SIZES = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 4, "num_heads": 1, "d_ff": 4}
Shape = namedtuple("Shape", "source target rows")


@functools.cache
def make_model(**options):
    return Transformer(vocabulary_size=23, **{"dropout": 0.0, **SIZES, **options})


def compiled(**options):
    """The model of these options, which all tests share, compiled anew."""
    model = make_model(**options)
    model.compile("sgd", LabelSmoothedCrossEntropy())
    return model


def arrays(source=7, target=8, label=9, lengths=(5, 3, 3)):
    source, target, label = (
        np.full((2, length), 1) * value for length, value in zip(lengths, (source, target, label), strict=True)
    )
    return {"source": source, "target": target}, label


class Batches(keras.utils.PyDataset):
    """A `PyDataset` that counts what is called."""

    def __init__(self, *batches):
        super().__init__()
        self.batches, self.ends = batches, 0

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]

    def on_epoch_end(self):
        self.ends += 1


MISFITS = {
    "a source id": (
        arrays(source=23),
        {},
        r"x\['source'\] must hold ids from 0 to 22, whole numbers, because the model has vocabulary_size=23, got 23 at "
        r"\(0, 0\)\.",
    ),
    "a negative id": (arrays(source=-1), {}, r"x\['source'\] must hold ids from 0 .*, got -1 at \(0, 0\)\."),
    "a target id": (
        arrays(target=19),
        {"target_vocabulary_size": 19, "tie_embeddings": "target"},
        r"x\['target'\] must hold ids from 0 to 18, .* target_vocabulary_size=19, got 19 at \(0, 0\)\.",
    ),
    "a label": (arrays(label=23), {}, r"y must hold ids from 0 to 22, .*, got 23 at \(0, 0\)\."),
    "half an id": (arrays(source=7.5), {}, r"x\['source'\] must hold ids .* whole numbers, .*, got 7\.5 at \(0, 0\)\."),
    "not a number": (arrays(target=float("nan")), {}, r"x\['target'\] must hold ids .*, got nan at \(0, 0\)\."),
    "labels of another length": (
        arrays(lengths=(5, 3, 4)),
        {},
        r"y must have the shape of x\['target'\], a label for each position: \(2, 3\), got \(2, 4\)\.",
    ),
    "a long source": (
        arrays(),
        {"positions": "learned", "max_length": 4},
        r"x\['source'\] must have at most max_length=4 positions, which the model has learned, got 5\.",
    ),
    "one axis": (
        ({"source": np.ones(2), "target": np.ones((2, 3))}, np.ones((2, 3))),
        {},
        r"x\['source'\] must have the shape \(sentences, positions\), got \(2,\)\. One sentence is "
        r"x\['source'\]\[None\]\.",
    ),
}


@pytest.mark.trains
@pytest.mark.parametrize("name", MISFITS)
def test_arrays_that_do_not_fit_are_refused_before_the_first_step(name):
    (x, y), options, message = MISFITS[name]
    model = compiled(**options)
    before = model.get_weights()
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=f"^{message}$"):
            method(x, y)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.trains
@pytest.mark.parametrize("side", ["source", "target"])
def test_padding_before_a_token_is_refused(side):
    """`keras.utils.pad_sequences` puts padding in front, unless it is told otherwise. Labels may leave out tokens."""
    model, x = compiled(), {}
    x[side] = keras.utils.pad_sequences([[7, 7, 7], [], [7, 7]], padding="post")
    x["target" if side == "source" else "source"] = np.full((3, 3), 7)
    y = np.array([[0, 9, 9], [0, 0, 0], [9, 0, 9]])
    model.evaluate(x, y, verbose=0)
    x[side] = keras.utils.pad_sequences([[7, 7, 7], [], [7, 7]])
    message = (
        rf"^x\['{side}'\] must have padding, the id 0, only at the end of a row .*, got it before a token in row 2\.$"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(x, y)


@pytest.mark.trains
def test_predict_and_validation_data_are_checked_before_the_first_step():
    model = compiled()
    with pytest.raises(ValueError, match=r"^x\['source'\] must hold ids .* got 23 at \(0, 0\)\.$"):
        model.predict(arrays(source=23)[0])
    with pytest.raises(ValueError, match=r"^validation_data\['source'\] must hold ids .* got 23 at \(0, 0\)\.$"):
        model.fit(*arrays(), validation_data=arrays(source=23), verbose=0)
    with pytest.raises(ValueError, match=r"^the labels of validation_data must hold ids .* got 23 at \(0, 0\)\.$"):
        model.fit(*arrays(), validation_data=arrays(label=23), verbose=0)
    assert model.optimizer.iterations == 0


@pytest.mark.trains
def test_generators_and_python_datasets_are_checked_batch_by_batch():
    good, bad = arrays(), arrays(source=23)
    message = r"^x\['source'\] must hold ids .* got 23 at \(0, 0\)\.$"
    with pytest.raises(ValueError, match=message):
        compiled().fit((batch for batch in (bad, good)), verbose=0)
    with pytest.raises(ValueError, match=message):
        compiled().fit(Batches(bad), verbose=0)
    passing, unchecked = Batches(good, good, good), Batches(good, good, good)
    model = compiled()
    model.fit(passing, epochs=2, verbose=0)
    keras.Model.fit(compiled(), unchecked, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 6 and passing.ends == unchecked.ends > 0


@pytest.mark.trains
def test_data_that_fit_train_as_before():
    x, y = arrays(source=22, target=22, label=22)
    for inputs in (x, {"source": x["source"].astype("float32"), "target": x["target"]}):
        model = compiled()
        expected = float(LabelSmoothedCrossEntropy()(y, model(x)))
        assert model.fit(inputs, y, verbose=0).history["loss"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.trains
def test_a_corpus_is_compared_with_the_model():
    def corpus(source=23, target=23, lengths=(7, 6)):
        report = SimpleNamespace(shapes=(Shape(2, 3, 8), Shape(*lengths, 8)))
        return SimpleNamespace(vocabulary_sizes={"source": source, "target": target}, report=report)

    model = compiled(positions="learned", max_length=6)
    with pytest.raises(
        ValueError,
        match=r"^x: the tokenizer of this corpus has 24 source pieces and the model's vocabulary_size is 23\. They "
        r"must be equal: make the model with vocabulary_size=24\.$",
    ):
        model.fit(corpus(source=24))
    with pytest.raises(ValueError, match=r"^validation_data: .* 22 target pieces .* target_vocabulary_size is 23\."):
        model.fit(*arrays(), validation_data=corpus(target=22, lengths=(6, 6)))
    with pytest.raises(
        ValueError,
        match=r"^x: the longest source batch of this corpus has 7 positions, and the model has learned positions for "
        r"max_length=6\. Make the model with max_length=7, or the corpus with max_length=6\.$",
    ):
        model.evaluate(corpus())


@pytest.mark.trains
def test_class_weight_is_refused_because_a_label_is_a_token():
    model = compiled()
    for method in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=r"^class_weight must be None: .* sample_weight=weights\[labels\]"):
            method(*arrays(), class_weight={9: 2.0})
    x, y = arrays()
    weights = np.where(np.arange(23) == 9, 2.0, 1.0).astype("float32")
    y[0, 0] = 5
    expected = float(LabelSmoothedCrossEntropy()(y, model(x), weights[y]))
    assert model.evaluate(x, y, sample_weight=weights[y], verbose=0) == pytest.approx(expected, rel=1e-5)
