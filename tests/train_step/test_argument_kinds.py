"""Arguments of the wrong kind are refused in one line, before the first step."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny

from keras_transformer import LabelSmoothedCrossEntropy, Perplexity, Transformer
from keras_transformer.presets import PRESETS
from keras_transformer.training import Checkpoint

IDS = {"source": np.full((2, 3), 4, "int32"), "target": np.full((2, 3), 4, "int32")}
MUST = "must be a dataset, or ids of source and target, got"
REMEDY = "Give parallel_corpus(source, target, tokenizer), or {'source': ids, 'target': ids} and y=labels."


@pytest.fixture(scope="module")
def model():
    return tiny.compiled(tiny.make_model())


def refused(error, message, call, *arguments, **options):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(*arguments, **options)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ("train.en", TypeError, f"{MUST} 'train.en' (str). {REMEDY}"),
        (None, TypeError, f"{MUST} None (NoneType). {REMEDY}"),
        (["a cat", "a dog"], TypeError, f"{MUST} a list with 'a cat' (str). {REMEDY}"),
        ([], TypeError, f"{MUST} a list with nothing. {REMEDY}"),
        (pd.DataFrame({"en": ["a"]}), TypeError, f"{MUST} a table (DataFrame). {REMEDY}"),
        (np.ones((2, 3)), TypeError, f"{MUST} one array of shape (2, 3). {REMEDY}"),
        ({"source": IDS["source"], "targets": IDS["target"]}, ValueError, None),
    ],
)
def test_data_of_another_kind(model, x, error, message):
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        rule = f"x {message}" if message else f"x has no 'target', only 'source', 'targets'. {REMEDY}"
        refused(error, rule, call, x, IDS["target"])
    refused(error, rule, model.predict, x)
    refused(error, f"validation_data{rule[1:]}", model.fit, IDS, IDS["target"], validation_data=(x, IDS["target"]))


def test_arrays_without_labels(model):
    message = "y is missing, and x holds arrays. Give y=labels: the ids that follow each id of the target."
    for call in (model.fit, model.evaluate, model.train_on_batch):
        refused(ValueError, message, call, IDS)
    assert model.predict(IDS, verbose=0).shape == (2, 3, model.vocabulary_size)


def test_lists_and_ragged_tensors_in_place_of_arrays(model):
    must = "must be an array of ids, got"
    listed = "[[4, 4], [4]] (list). Make one with np.array, and fill short rows with 0."
    refused(TypeError, f"x['source'] {must} {listed}", model.fit, IDS | {"source": [[4, 4], [4]]}, IDS["target"])
    refused(TypeError, f"y {must} {listed}", model.fit, IDS, [[4, 4], [4]])
    refused(
        TypeError,
        f"the labels of validation_data {must} {listed}",
        model.fit,
        IDS,
        IDS["target"],
        **valid([[4, 4], [4]]),
    )
    ragged, fill = tf.ragged.constant([[4, 4], [4]]), "a RaggedTensor. Fill short rows with 0: ragged.to_tensor()."
    refused(TypeError, f"x['source'] {must} {fill}", model.evaluate, IDS | {"source": ragged}, IDS["target"])
    refused(TypeError, f"x[0] {must} {fill}", model.evaluate, [ragged, IDS["target"]], IDS["target"])
    refused(TypeError, f"y {must} {fill}", model.evaluate, IDS, ragged)
    data = tf.data.Dataset.from_tensors((IDS | {"source": ragged}, IDS["target"]))
    refused(TypeError, f"x['source'] {must} {fill}", model.evaluate, data)


def test_labels_as_keras_takes_those_of_each_output():
    """A list or a dictionary of one array, and tables of ids, give the loss of the array, also in a dataset."""
    rng = np.random.default_rng(0)
    source, target, labels = (rng.integers(4, 25, (3, 5)) for _ in range(3))
    model = tiny.compiled(tiny.make_model())
    x = {"source": source, "target": target}
    expected = model.evaluate(x, labels, verbose=0)
    frames = [pd.DataFrame(each) for each in (source, target, labels)]
    for y in ([labels], (labels,), {"logits": labels}):
        assert model.evaluate(x, y, verbose=0) == expected
        assert model.test_on_batch(x, y) == expected
    for y in ((labels,), {"logits": labels}):
        assert model.evaluate(tf.data.Dataset.from_tensors((x, y)), verbose=0) == expected
    assert model.evaluate(dict(zip(x, frames, strict=False)), frames[2], verbose=0) == expected
    few = "3 arrays. If they are rows of one length, np.stack makes one array of them."
    refused(TypeError, f"y must be one array of labels, got a list of {few}", model.evaluate, x, list(labels))
    refused(
        TypeError,
        f"the labels of validation_data must be one array of labels, got a list of {few}",
        model.fit,
        x,
        labels,
        validation_data=(x, list(labels)),
    )
    shapes = "y must have the shape of x['target'], a label for each position: (3, 5), got (3, 4)."
    refused(ValueError, shapes, model.evaluate, x, [labels[:, :4]])  # these labels are checked too


def valid(labels):
    return {"validation_data": (IDS, labels)}


def test_validation_data_without_labels(model):
    message = "validation_data has no labels. Give validation_data=(inputs, labels): the ids that follow the target's."
    for data in (IDS, (IDS,), [IDS]):
        refused(ValueError, message, model.fit, IDS, IDS["target"], validation_data=data)


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        (np.ones(3), "must have a weight for each sentence, (2,), or for each label, (2, 3), got the shape (3,)."),
        (
            np.ones((3, 2)),
            "must have a weight for each sentence, (2,), or for each label, (2, 3), got the shape (3, 2).",
        ),
        (np.array([1, np.nan]), "must hold finite numbers. It holds others."),
    ],
)
def test_weights_that_fit_no_label(model, weights, rule):
    y = IDS["target"]
    for call in (model.fit, model.evaluate, model.train_on_batch):
        refused(ValueError, f"sample_weight {rule}", call, IDS, y, sample_weight=weights)
    refused(
        ValueError, f"the sample_weight of validation_data {rule}", model.fit, IDS, y, validation_data=(IDS, y, weights)
    )
    for shape in ((2,), (2, 1), (2, 3)):
        model.evaluate(IDS, y, sample_weight=np.ones(shape), verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": "4"}, "batch_size must be a whole number of at least 1, got '4'."),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0."),
        ({"steps_per_epoch": 1.5}, "steps_per_epoch must be a whole number of at least 1, got 1.5."),
        ({"validation_steps": -1}, "validation_steps must be a whole number of at least 1, got -1."),
        ({"validation_freq": 0}, "validation_freq must be a whole number of at least 1, got 0."),
        ({"validation_freq": [1, "2"]}, "validation_freq[1] must be a whole number of at least 1, got '2'."),
        ({"validation_split": 1.0}, "validation_split must be in [0, 1), got 1.0."),
    ],
)
def test_numbers_of_the_wrong_kind(model, options, message):
    refused(ValueError, message, model.fit, IDS, IDS["target"], **options)


def test_a_batch_size_of_data_that_have_batches(model):
    message = "batch_size=4 is for arrays, and x has batches already. Leave it out. A corpus has tokens_per_batch."
    for call in (model.fit, model.evaluate, model.predict):
        refused(ValueError, message, call, tf.data.Dataset.from_tensors((IDS, IDS["target"])), batch_size=4)


def test_a_dataset_without_labels_and_a_dataset_in_place_of_a_batch(model):
    data = tf.data.Dataset.from_tensors(IDS)
    message = "x has no labels: each of its batches must be (inputs, labels)."
    for call in (model.fit, model.evaluate):
        refused(ValueError, message, call, data)
    pair = (IDS, IDS["target"])
    refused(ValueError, f"validation_data{message[1:]}", model.fit, *pair, validation_data=data)
    assert model.predict(data, verbose=0).shape == (2, 3, model.vocabulary_size)
    for call, batches in (
        (model.train_on_batch, tf.data.Dataset.from_tensors(pair)),
        (model.test_on_batch, iter([pair])),
    ):
        message = f"x must be the inputs of one batch, got a {type(batches).__name__}. Give the parts of a batch, "
        refused(TypeError, message + "train_on_batch(*batch), or call fit.", call, batches)


@pytest.mark.parametrize("kind", ["dataset", "generator"])
def test_batches_of_another_form(model, kind):
    """Text, or inputs without a target: said before a graph is made, where TensorFlow and Keras speak in riddles."""

    def data(*batch):
        return tf.data.Dataset.from_tensors(batch) if kind == "dataset" else (each for each in [batch])

    ids, texts = IDS["target"], np.array([["a", "b"]])
    form = "must be {'source': ids, 'target': ids}, or a pair of these, got one array of shape"
    for call in (model.fit, model.evaluate):
        for x in (ids, texts):
            message = f"the inputs of a batch of x {form} {x.shape}. Each batch is (inputs, labels)."
            refused(TypeError, message, call, data(x, ids))
        dtype = "string" if kind == "dataset" else "<U1"
        message = f"must hold ids, whole numbers, got an array of {dtype}. A Tokenizer makes ids of text."
        refused(ValueError, f"x['source'] {message}", call, data({"source": texts, "target": ids}, ids))
        refused(ValueError, f"y {message}", call, data(IDS, texts))
        refused(ValueError, f"x has no 'target', only 'source'. {REMEDY}", call, data({"source": ids}, ids))
        message = f"x {MUST} a list_iterator. {REMEDY} A generator works: (batch for batch in x)."
        refused(TypeError, message, call, iter([(IDS, ids)]))


def test_a_dataset_of_one_array_of_unknown_shape(model):
    data = tf.data.Dataset.from_generator(lambda: iter([(IDS["target"], IDS["target"])]), (tf.int32, tf.int32))
    message = "the inputs of a batch of x must be {'source': ids, 'target': ids}, or a pair of these, got one array of"
    refused(TypeError, f"{message} shape <unknown>. Each batch is (inputs, labels).", model.fit, data)


def test_arrays_with_nothing_in_them(model):
    empty = {side: ids[:0] for side, ids in IDS.items()}
    message = "x['source'] must have at least one row and one position, got the shape"
    refused(ValueError, f"{message} (0, 3).", model.fit, empty, IDS["target"][:0])
    refused(ValueError, f"{message} (2, 0).", model.evaluate, IDS | {"source": IDS["source"][:, :0]}, IDS["target"])
    message = "y holds only padding, the id 0. Give the ids that follow each id of x['target']."
    refused(ValueError, message, model.fit, IDS, 0 * IDS["target"])


def test_a_validation_file_is_refused_before_the_first_epoch(model):
    message = f"validation_data {MUST} 'dev.en' (str). {REMEDY}"
    refused(TypeError, message, model.fit, IDS, IDS["target"], validation_data="dev.en")


def test_epochs_callbacks_and_a_model_that_is_not_compiled(model):
    for epochs, shown in (("3", "'3'"), (1.5, "1.5"), (-1, "-1")):
        message = f"epochs must be a whole number of at least 0, got {shown}."
        refused(ValueError, message, model.fit, IDS, IDS["target"], epochs=epochs)
    message = "callbacks[1] is the class Checkpoint. Make an object of it: Checkpoint(...)."
    callbacks = [keras.callbacks.TerminateOnNaN(), Checkpoint]
    refused(TypeError, message, model.fit, IDS, IDS["target"], callbacks=callbacks)
    message = "callbacks[0] must be a callback of Keras, got 'early' (str)."
    refused(TypeError, message, model.fit, IDS, IDS["target"], callbacks="early")
    message = "the model is not compiled. Call compile(optimizer, loss=LabelSmoothedCrossEntropy()) first."
    new = tiny.make_model()
    for call in (new.fit, new.evaluate, new.train_on_batch, new.test_on_batch):
        refused(ValueError, message, call, IDS, IDS["target"])


def test_classes_in_place_of_objects(model):
    loss = LabelSmoothedCrossEntropy()
    for name, kind, options in (
        ("optimizer", keras.optimizers.Adam, {"optimizer": keras.optimizers.Adam, "loss": loss}),
        ("loss", LabelSmoothedCrossEntropy, {"optimizer": "adam", "loss": LabelSmoothedCrossEntropy}),
        ("metrics[0]", Perplexity, {"optimizer": "adam", "loss": loss, "metrics": [Perplexity]}),
    ):
        message = f"{name} is the class {kind.__name__}. Make an object of it: {kind.__name__}(...)."
        refused(TypeError, message, model.compile, **options)
    message = "jit_compile must be True, False or 'auto', got 'yes'."
    refused(ValueError, message, model.compile, "adam", loss, jit_compile="yes")


def test_unknown_presets_of_any_kind():
    refused(
        ValueError,
        f"unknown preset ['base']. Known presets: {', '.join(sorted(PRESETS))}.",
        Transformer.from_preset,
        ["base"],
    )
