"""One worker of a job for `test_workers.py`. It trains, writes its weights and logs, and trains until it is killed.

    python tests/support/worker_job.py FOLDER INDEX UPDATE

The worker kills itself after update UPDATE, if it reaches it. Each worker has its own folder.
"""

import json
import os
import signal
import sys
from pathlib import Path

from keras_transformer.training import AverageWeights, Checkpoint, workers_strategy

strategy = workers_strategy() if __name__ == "__main__" else None

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tiny  # noqa: E402

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, parallel_corpus  # noqa: E402

EPOCHS = 2


class KillAfter(keras.callbacks.Callback):
    def __init__(self, update):
        super().__init__()
        self.update = update

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == self.update:
            os.kill(os.getpid(), signal.SIGKILL)


def corpora_of(folder, tokenizer):
    """A shuffled corpus of 101 pairs in `folder`, and the same pairs for validation."""
    files = tiny.write_pairs(folder, tiny.digit_pairs(101))
    options = {"tokens_per_batch": 160, "num_shapes": 2}
    return parallel_corpus(*files, tokenizer, seed=3, **options), parallel_corpus(*files, tokenizer, shuffle=False)


def trained(scope, corpora, callbacks=()):
    """A model after `EPOCHS` epochs, and its logs."""
    keras.utils.set_random_seed(5)
    with scope:
        model = tiny.make_model()
        metrics = [MaskedAccuracy(), Perplexity()]
        options = {"accumulate_steps": 2, "log_gradient_norm": True}
        optimizer = keras.optimizers.SGD(0.05, momentum=0.5)
        model.compile(optimizer, loss=LabelSmoothedCrossEntropy(0.1), metrics=metrics, **options)
    train, valid = corpora
    options = {"epochs": EPOCHS, "verbose": 0, "shuffle": False, "callbacks": list(callbacks)}
    return model, model.fit(train, validation_data=valid, **options).history


def main(folder, index, kill_after):
    own = folder / index
    tokenizer = tiny.make_tokenizer(own)
    corpora = corpora_of(own, tokenizer)
    checkpoint = Checkpoint(own / "run", tokenizer, corpus=corpora[0], every_steps=2)
    mean = AverageWeights(folder / "shared", 2)
    model, logs = trained(strategy.scope(), corpora, [KillAfter(kill_after), mean, checkpoint])
    np.savez(own / "weights.npz", *model.get_weights())
    (own / "logs.json").write_text(json.dumps(logs))
    print("written", flush=True)
    model.fit(corpora[0].repeat(), epochs=1, verbose=0, shuffle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
