"""Arguments of the wrong kind are refused in one line, before the first step."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
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
    refused(ValueError, message, tiny.make_model().fit, IDS, IDS["target"])


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
