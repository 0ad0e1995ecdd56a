"""Small things for many tests: a corpus of digits, its tokenizer, and models of a few thousand weights."""

import functools
import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_transformer import (
    LabelSmoothedCrossEntropy,
    MaskedAccuracy,
    Perplexity,
    Tokenizer,
    TokenizerPair,
    Transformer,
    TransformerSchedule,
)
from keras_transformer.ids import END, PAD, START

# For processes that tests start: what makes their imports quick, and with it the package and the tests' own modules.
STARTUP = str(Path(__file__).parent / "startup")
PYTHONPATH = os.pathsep.join([STARTUP, str(Path(__file__).parents[2]), str(Path(__file__).parent)])


def python(*arguments):
    """Run Python with these arguments in another process, which can import the same modules."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([STARTUP, *sys.path])}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


# 4 special pieces, the space, ten digits, ten digits after a space; BPE adds 256 bytes.
VOCABULARY_SIZES = {"wordpiece": 25, "bpe": 281}


def digit_pairs(count, seed=0, longest=8):
    """`count` different pairs: some digits, and the same digits backwards. "3 1 4" and "4 1 3"."""
    rng = random.Random(seed)
    sources = {}
    while len(sources) < count:
        sources[" ".join(str(rng.randrange(10)) for _ in range(rng.randint(1, longest)))] = None
    shuffled = rng.sample(list(sources), count)  # most short sources were drawn first
    return [(source, source[::-1]) for source in shuffled]


def write_pairs(folder, pairs, name="train"):
    """Write two aligned files, `name`.en and `name`.de. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{name}.{language}" for language in ("en", "de"))
    for path, side in zip(paths, zip(*pairs, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return paths


SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}


def write_multi30k(folder, name):
    """Write Multi30k's six files. `name` is a path with {split} and {language}. Returns the pairs of all files."""
    pairs = digit_pairs(140)
    for split, part in (("train", pairs[:100]), ("valid", pairs[100:120]), ("test", pairs[120:])):
        for language, lines in zip(("en", "de"), zip(*part, strict=True), strict=True):
            path = folder / name.format(split=SPLITS[split], language=language)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = "".join(f"{line}\n" for line in lines).encode()
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return pairs


def make_tokenizer(folder, model="wordpiece"):
    """A tokenizer with `VOCABULARY_SIZES[model]` pieces, learned from 60 pairs."""
    return Tokenizer.train(write_pairs(folder, digit_pairs(60)), VOCABULARY_SIZES[model], model)


PAIR_SIZES = {"vocabulary_size": 25, "target_vocabulary_size": 21}  # of a model for `make_pair`
LETTERS = str.maketrans("0123456789", "abcdefghij")


def lettered_pairs(count, seed=0):
    """Pairs of two alphabets: some digits, and letters for the same digits backwards. "3 1 4" and "e b d"."""
    return [(source, target.translate(LETTERS)) for source, target in digit_pairs(count, seed)]


def make_pair(folder):
    """A `TokenizerPair` of WordPiece with `PAIR_SIZES`, learned from 60 pairs: one of digits and one of letters."""
    files = zip(write_pairs(folder, lettered_pairs(60)), PAIR_SIZES.values(), strict=True)
    return TokenizerPair(*(Tokenizer.train(path, size, "wordpiece") for path, size in files))


# In place of a preset, for programs that train one.
SMALL_PRESET = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 32}


def make_model(**changes):
    """A model with d_model 16, one encoder layer and one decoder layer."""
    options = {
        "vocabulary_size": VOCABULARY_SIZES["wordpiece"],
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "d_model": 16,
        "num_heads": 2,
        "d_ff": 32,
        "dropout": 0.0,
    }
    return Transformer(**{**options, **changes})


def make_opinionated(seed=0, **changes):
    """An untrained model for tests of search. After each prefix a few tokens are likely, and END often is."""
    model = make_model(tie_embeddings="none", **changes)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if len(weight.shape) == 2:
            weight.assign(rng.normal(size=weight.shape) / 2)
    rows = rng.normal(size=model.output_map.embeddings.shape) / 3
    rows[END] = 3 * np.eye(rows.shape[1])[0]  # END is likely after some prefixes only
    model.output_map.embeddings.assign(rows)
    last_norm(model).beta.assign(np.eye(rows.shape[1])[0] / 2)
    return model


def make_random(seed=0, **changes):
    """A model with random numbers added to all its initial weights."""
    model = make_model(**{"tie_embeddings": "none", **changes})
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(weight + rng.normal(size=weight.shape) / 2)
    return model


def last_norm(model):
    """The layer normalization before the logits."""
    return model.decoder.layers[-1].feed_forward_residual.layer_norm


@functools.cache
def two_replicas():
    """A strategy over the two logical devices, one for the process: a second would use the same collectives."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compiled(model, optimizer=None, epsilon=0.1):
    """The model after `compile`, with the loss and the metrics of the examples."""
    if optimizer is None:
        schedule = TransformerSchedule.with_peak(3e-3, model.d_model, warmup_steps=60)
        optimizer = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)
    model.compile(optimizer, loss=LabelSmoothedCrossEntropy(epsilon), metrics=[MaskedAccuracy(), Perplexity()])
    return model


@functools.cache
def _traced():
    """The model of `compiled_again`, its training step, and the first values of its variables and its optimizer's."""
    model = compiled(make_model())
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    first = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    return model, model.train_function, first


def compiled_again():
    """`compiled(make_model())`, for tests of what goes on around `fit`, which have one such model at a time.

    It is the same model each time, with its first weights, so that the training step is traced once for all tests.
    """
    model, step, first = _traced()
    for variable, value in zip((*model.variables, *model.optimizer.variables), first, strict=True):
        variable.assign(value)
    model.reset_metrics()
    model.train_function, model.stop_training = step, False
    return model


class Broken(Exception):
    """Ends a run, in place of a crash."""


class BreakAt(keras.callbacks.Callback):
    """Raises `Broken` after a batch of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Broken


def random_batch(rng, source_lengths, target_lengths, vocabulary_size=VOCABULARY_SIZES["wordpiece"]):
    """A batch for `fit` with rows of the given lengths. A row of length 0 is only padding."""

    def side(lengths):
        ids = rng.integers(4, vocabulary_size, (len(lengths), max(lengths))).astype("int32")
        return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], ids, PAD)

    source, labels = side(source_lengths), side(target_lengths)
    shifted = np.concatenate([np.full((len(labels), 1), START, "int32"), labels[:, :-1]], axis=1)
    return {"source": source, "target": np.where(labels == PAD, PAD, shifted)}, labels


FIVE_LENGTHS = [
    ([7, 6, 2, 1], [9, 8, 1, 3]),
    ([5, 5, 7, 1], [4, 9, 1, 2]),
    ([3, 7, 2, 6], [9, 2, 1, 1]),
    ([7, 1, 1, 2], [1, 1, 9, 1]),
    ([1, 1, 7, 7], [5, 9, 9, 8]),
]


def batches():
    """Five batches of one shape with different numbers of tokens. Each call gives the same batches."""
    rng = np.random.default_rng(3)
    return [random_batch(rng, *rows) for rows in FIVE_LENGTHS]


def dataset(others=None):
    """A dataset of `batches()`, or of other batches."""
    first, *rest = [tf.data.Dataset.from_tensors(batch) for batch in others or batches()]
    for single in rest:
        first = first.concatenate(single)
    return first
