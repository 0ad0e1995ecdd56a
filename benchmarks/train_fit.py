"""The speed of `fit` against its bare step: the cost of data pipeline, callbacks and metrics in real training."""

import io
import statistics
import sys
from pathlib import Path

import keras
import tensorflow as tf
from processes import in_rounds
from rich.console import Console
from timing import epoch_timer, timed
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


def compiled_model(case, vocabulary_size):
    model = Transformer.from_preset(case.preset, vocabulary_size=vocabulary_size, dtype=case.policy)
    optimizer = keras.optimizers.Adam(TransformerSchedule(model.d_model), beta_2=0.98, epsilon=1e-9)
    model.compile(optimizer, LabelSmoothedCrossEntropy(SMOOTHING), metrics=[MaskedAccuracy(), Perplexity()])
    return model


def fit_and_bare_step(case, data, rounds):
    """Return the medians of target tokens a second, padding not counted, of `fit` and of its bare step.

    Both train on the same batches. `fit` reads the corpus, cuts it into pieces and shuffles it in each epoch, with the
    callbacks of the README. The bare step is the function that `fit` calls for each batch. For it, all batches of an
    epoch are in memory. The first epoch of each traces every shape and does not count.
    """
    limit_tensorflow(case)
    files = corpus_files(data, "tok", ("en", "de"))["train"]
    tokenizer = Tokenizer.train(files, case.vocabulary_size)
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=case.tokens, seed=SEED)
    model, options = compiled_model(case, tokenizer.vocabulary_size), {"epochs": 1, "shuffle": False, "verbose": 0}
    timer, epoch_seconds = epoch_timer()
    callbacks = [Throughput(), TrainingProgress(Console(file=io.StringIO())), timer]
    batches = list(corpus)
    tokens = sum(int(tf.math.count_nonzero(labels)) for _, labels in batches)

    def rate_of_fit():
        model.fit(corpus, callbacks=callbacks, **options)
        return tokens / epoch_seconds[-1]

    def bare_epoch():
        for batch in batches:
            logs = model.train_function(iter([batch]))
        float(logs["loss"])

    def rate_of_bare_step():
        return tokens / timed(bare_epoch)[0]

    model.fit(corpus, **options)
    bare_epoch()
    fit, bare = in_rounds([rate_of_fit, rate_of_bare_step], lambda rate: rate(), rounds)
    return {
        **case._asdict(),
        "tokens": tokens,
        "fit": statistics.median(fit),
        "bare": statistics.median(bare),
        "rounds": {"fit": fit, "bare": bare},
    }
