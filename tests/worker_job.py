"""One worker of a job for `test_workers.py`: trains, writes its weights and logs, then trains on until it is killed."""

import json
import sys
from pathlib import Path

from keras_transformer.training import Checkpoint, workers_strategy

strategy = workers_strategy() if __name__ == "__main__" else None

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tiny  # noqa: E402

from keras_transformer import LabelSmoothedCrossEntropy, MaskedAccuracy, Perplexity, parallel_corpus  # noqa: E402


def corpus_of(folder, tokenizer):
    """A shuffled corpus of 101 pairs in `folder`."""
    keras.utils.set_random_seed(3)  # the shuffling depends on it
    files = tiny.write_pairs(folder, tiny.digit_pairs(101))
    return parallel_corpus(*files, tokenizer, tokens_per_batch=160, num_shapes=2, seed=3)


def trained(scope, corpus, callbacks=()):
    """A model after two epochs, and its logs."""
    keras.utils.set_random_seed(5)
    with scope:
        model = tiny.make_model()
        metrics = [MaskedAccuracy(), Perplexity()]
        options = {"accumulate_steps": 2, "log_gradient_norm": True}
        optimizer = keras.optimizers.SGD(0.1)
        model.compile(optimizer, loss=LabelSmoothedCrossEntropy(0.1), metrics=metrics, **options)
    history = model.fit(corpus, validation_data=corpus, epochs=2, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model, history.history


def main(folder, index):
    own = folder / index
    tokenizer = tiny.make_tokenizer(own)
    corpus = corpus_of(own, tokenizer)
    model, logs = trained(strategy.scope(), corpus, [Checkpoint(folder / "run", tokenizer)])
    np.savez(own / "weights.npz", *model.get_weights())
    (own / "logs.json").write_text(json.dumps(logs))
    print("written", flush=True)
    model.fit(corpus.repeat(), epochs=1, verbose=0, shuffle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
