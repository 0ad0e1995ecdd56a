"""For `test_jax_training.py`: on JAX, a run that is broken within an epoch ends like an unbroken run."""

import sys
from pathlib import Path

import keras
import numpy as np
import one_context  # noqa: F401
import pytest
import tiny

from keras_transformer import Translator, parallel_corpus
from keras_transformer.training import (
    AverageWeights,
    Checkpoint,
    HistoryFile,
    StopOnNaN,
    TensorBoardLog,
    Throughput,
    TrainingProgress,
    read_history,
)
from keras_transformer.training.facts import update_facts
from keras_transformer.training.states import states_in
from keras_transformer.training.sums import Window

EPOCHS = 3
SENTENCES = {"source": np.array([[5, 6, 7, 3]], "int32"), "target": np.array([[2, 7, 6, 5]], "int32")}


class Agree(keras.callbacks.Callback):
    """Checks that the metrics that callbacks read from the model within an epoch equal the logs."""

    def on_train_batch_end(self, batch, logs=None):
        if batch % 3 == 1:
            assert Window().means(self.model)["perplexity"] == pytest.approx(logs["perplexity"], rel=1e-5)


def fit(folder, tokenizer, paths, *others):
    """Do the same as a user's program: make a new corpus, model and callbacks, and call `fit`."""
    keras.utils.set_random_seed(7)
    corpus = parallel_corpus(*paths, tokenizer, tokens_per_batch=136, num_shapes=1, seed=3)
    valid = parallel_corpus(*paths, tokenizer, tokens_per_batch=500, num_shapes=1, shuffle=False)
    model = tiny.compiled(tiny.make_model(dropout=0.2))
    stop, throughput = StopOnNaN(), Throughput()
    checkpoint = Checkpoint(
        folder, tokenizer, monitor="val_perplexity", corpus=corpus, every_steps=4, callbacks=[throughput]
    )
    curves = TensorBoardLog(folder / "curves", every=3)
    watching = [HistoryFile(folder / "history.jsonl"), curves, AverageWeights(folder, n=2), Agree()]
    callbacks = [stop, throughput, TrainingProgress(), *watching, *others, checkpoint]
    options = {"validation_data": valid, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    logs = model.fit(stop.watch(corpus), callbacks=callbacks, **options).history
    assert model.train_compilations == 1 and update_facts(model, corpus.report)["replicas"] == 1
    return model, logs


def main(folder):
    paths = tiny.write_pairs(folder / "corpus", tiny.digit_pairs(100, seed=2))
    tokenizer = tiny.make_tokenizer(folder)
    whole, expected = fit(folder / "whole", tokenizer, paths)
    with pytest.raises(tiny.Broken):
        fit(folder / "broken", tokenizer, paths, tiny.BreakAt(1, 6))  # an epoch has 13 batches; the state is after 3
    assert list(states_in(folder / "broken" / "checkpoints", "step"))
    broken, logs = fit(folder / "broken", tokenizer, paths)
    ends = [[*model.variables, *model.optimizer.variables] for model in (broken, whole)]
    for found, goal in zip(*ends, strict=True):
        np.testing.assert_array_equal(found.numpy(), goal.numpy(), err_msg=found.path)
    for name in ("loss", "perplexity", "accuracy", "val_perplexity"):
        assert logs[name] == expected[name][-len(logs[name]) :], name
    whole_rows, rows = (read_history(folder / run / "history.jsonl") for run in ("whole", "broken"))
    for name in ("update", "loss", "perplexity", "accuracy", "val_perplexity"):  # the second epoch was broken
        assert [row[name] for row in rows] == [row[name] for row in whole_rows], name
    averages = [keras.saving.load_model(folder / run / "average.keras") for run in ("whole", "broken")]
    for found, goal in zip(*(average.get_weights() for average in averages), strict=True):
        np.testing.assert_array_equal(found, goal)
    with pytest.raises(RuntimeError, match="needs Keras' TensorFlow backend, and this process runs on 'jax'"):
        Translator(whole, tokenizer)
    logits = whole.predict(SENTENCES, verbose=0)
    np.save(folder / "logits.npy", logits)
    print("the runs agree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
