"""A run that can be interrupted and resumed, for the tests of resuming."""

import keras
import numpy as np
import tensorflow as tf
import tiny

from keras_transformer import parallel_corpus
from keras_transformer.training import Checkpoint, Throughput

EPOCHS = 3


def variables_of(model):
    return [*model.variables, *model.optimizer.variables]


def forgotten(model):
    """The model with zeros in all its variables and those of its optimizer. Its traced steps stay."""
    for variable in variables_of(model):
        variable.assign(keras.ops.zeros_like(variable))
    return model


class Run:
    """A user's program: it makes corpus, model and callbacks, and calls `fit`.

    With `after`, it takes the model of that run and forgets its variables. That stands for a new model of a run that
    resumes, and tracing its steps again would take most of the time. With `again`, it takes the model of that run and
    gives its variables their first values. That stands for a new model with the same seed.
    """

    def __init__(
        self,
        folder,
        paths,
        tokenizer,
        strategy=None,
        model=None,
        corpus=None,
        optimizer=None,
        after=None,
        again=None,
        valid=True,
        **checkpoint,
    ):
        options = {"tokens_per_batch": 136, "num_shapes": 1, "seed": 3, **(corpus or {})}
        self.corpus = parallel_corpus(*paths, tokenizer, **options)
        self.valid = parallel_corpus(*paths, tokenizer, num_shapes=1, shuffle=False) if valid else None
        if after is not None:
            self.model = forgotten(after.model)
        elif again is not None:
            self.model, self.first = again.model, again.first
            for variable, value in zip(variables_of(self.model), self.first, strict=True):
                variable.assign(value)
        else:
            with (strategy or tf.distribute.get_strategy()).scope():
                self.model = tiny.compiled(tiny.make_model(dropout=0.2, **(model or {})), optimizer)
                self.model.optimizer.build(self.model.trainable_variables)
            self.first = [keras.ops.convert_to_numpy(variable) for variable in variables_of(self.model)]
        self.stopping = keras.callbacks.EarlyStopping("loss", patience=9)
        self.throughput = Throughput()
        counting = {"callbacks": [self.stopping, self.throughput]}
        checkpoint = {"monitor": "loss", "every_steps": 4, **counting, **checkpoint}
        self.checkpoint = Checkpoint(folder, tokenizer, corpus=self.corpus, **checkpoint)

    def fit(self, *others, epochs=EPOCHS, **options):
        return self.model.fit(
            self.corpus,
            validation_data=self.valid,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[self.throughput, self.stopping, *others, self.checkpoint],
            **options,
        ).history


def state_of(model):
    return {f"{number} {v.path}": keras.ops.convert_to_numpy(v) for number, v in enumerate(variables_of(model))}


def assert_same(found, expected):
    pairs = zip(found.values(), expected.items(), strict=True)
    assert [name for value, (name, goal) in pairs if not np.array_equal(value, goal)] == []


TIMES = ("seconds", "tokens_per_second")


def without_times(history):
    return {name: values for name, values in history.items() if name not in TIMES}
