"""What `fit` loses to its bare step: the data pipeline, callbacks and metrics of real training."""

import io
import statistics
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console
from train_contenders import SEED, SMOOTHING, limit_tensorflow

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from translate_multi30k import corpus_files

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    MaskedAccuracy,
    Perplexity,
    Tokenizer,
    Transformer,
    TransformerSchedule,
    parallel_corpus,
)
from keras_transformer.training import Throughput, TrainingProgress


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch, without what stands between two."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.times.append(time.perf_counter() - self.start)


def fit_and_bare_step(case, data, rounds):
    """Medians of target tokens a second, padding not counted, over the same batches.

    The corpus is read, cut into pieces and shuffled anew in each epoch of `fit`, with the callbacks of the
    README. The bare step is what `fit` calls for each batch, with the batches of an epoch in memory. The first
    epoch, which traces every shape, counts for neither.
    """
    limit_tensorflow(case)
    files = corpus_files(data, "tok", ("en", "de"))["train"]
    tokenizer = Tokenizer.train(files, case.vocabulary_size)
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=case.tokens, seed=SEED)
    changes = {"vocabulary_size": tokenizer.vocabulary_size, "dtype": case.policy}
    model = Transformer.from_preset(case.preset, **changes)
    optimizer = keras.optimizers.Adam(TransformerSchedule(model.d_model), beta_2=0.98, epsilon=1e-9)
    model.compile(optimizer, LabelSmoothedCrossEntropy(SMOOTHING), metrics=[MaskedAccuracy(), Perplexity()])
    watch = EpochTimes()
    options = {"shuffle": False, "verbose": 0}
    callbacks = [Throughput(), TrainingProgress(Console(file=io.StringIO())), watch]
    batches = list(corpus)
    tokens = sum(int(tf.math.count_nonzero(labels)) for _, labels in batches)
    model.fit(corpus, epochs=1, **options)
    fit, bare = [], []
    for _ in range(rounds):
        model.fit(corpus, epochs=1, callbacks=callbacks, **options)
        fit.append(tokens / watch.times[0])
        start = time.perf_counter()
        for batch in batches:
            logs = model.train_function(iter([batch]))
        float(logs["loss"])
        bare.append(tokens / (time.perf_counter() - start))
    return {
        **case._asdict(),
        "tokens": tokens,
        "fit": statistics.median(fit),
        "bare": statistics.median(bare),
        "rounds": {"fit": fit, "bare": bare},
    }
