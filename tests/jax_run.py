"""For `test_jax_training.py`: on JAX, a run that is broken off twice ends as one that never was."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny

from keras_transformer import Translator, parallel_corpus
from keras_transformer.states import states_in
from keras_transformer.training import Checkpoint, StopOnNaN, Throughput, TrainingProgress
from keras_transformer.training.facts import update_facts

EPOCHS = 3
SENTENCES = {"source": np.array([[5, 6, 7, 3]], "int32"), "target": np.array([[2, 7, 6, 5]], "int32")}


class Broken(Exception):
    pass


class BreakAt(keras.callbacks.Callback):
    """Raises after a batch of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Broken


def fit(folder, tokenizer, paths, *others):
    """What a user's program does: makes corpus, model and callbacks anew, and calls `fit`."""
    keras.utils.set_random_seed(7)
    corpus = parallel_corpus(*paths, tokenizer, tokens_per_batch=136, num_shapes=1, seed=3)
    valid = parallel_corpus(*paths, tokenizer, tokens_per_batch=500, num_shapes=1, shuffle=False)
    model = tiny.compiled(tiny.make_model(dropout=0.2))
    stop, throughput = StopOnNaN(), Throughput()
    checkpoint = Checkpoint(
        folder, tokenizer, monitor="val_perplexity", corpus=corpus, every_steps=4, callbacks=[throughput]
    )
    callbacks = [stop, throughput, TrainingProgress(), *others, checkpoint]
    options = {"validation_data": valid, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    logs = model.fit(stop.watch(corpus), callbacks=callbacks, **options).history
    assert model.train_compilations == 1 and update_facts(model, corpus.report)["replicas"] == 1
    return model, logs


def main(folder):
    paths = tiny.write_pairs(folder / "corpus", tiny.digit_pairs(100, seed=2))
    tokenizer = tiny.make_tokenizer(folder)
    whole, expected = fit(folder / "whole", tokenizer, paths)
    for at in ((0, 5), (2, 1)):
        with pytest.raises(Broken):
            fit(folder / "broken", tokenizer, paths, BreakAt(*at))
    assert list(states_in(folder / "broken" / "checkpoints", "step"))
    broken, logs = fit(folder / "broken", tokenizer, paths)
    for found, goal in zip(broken.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(found.numpy(), goal.numpy(), err_msg=found.path)
    for found, goal in zip(broken.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(found.numpy(), goal.numpy(), err_msg=found.path)
    for name in ("loss", "perplexity", "accuracy", "val_perplexity"):
        assert logs[name] == expected[name][-len(logs[name]) :], name
    with pytest.raises(RuntimeError, match="a Translator needs Keras' TensorFlow backend, and this process has 'jax'"):
        Translator(whole, tokenizer)
    logits = whole.predict(SENTENCES, verbose=0)
    np.save(folder / "logits.npy", logits)
    print("the runs agree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
