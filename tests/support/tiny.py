"""Small things that several tests share: a corpus of digits, its tokenizer, and models of a few thousand weights."""

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
    Transformer,
    TransformerSchedule,
)
from keras_transformer.ids import END, PAD, START

# The package and the tests' own modules, for processes that tests start.
PYTHONPATH = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])


def python(*arguments):
    """Run Python on these in a process of its own, which finds what this one finds."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


# 4 special pieces, the space, ten digits, ten digits after a space; BPE adds 256 bytes.
VOCABULARY_SIZES = {"wordpiece": 25, "bpe": 281}


def digit_pairs(count, seed=0, longest=8):
    """`count` different pairs of digits and the same digits backwards: "3 1 4", "4 1 3"."""
    rng = random.Random(seed)
    sources = {}
    while len(sources) < count:
        sources[" ".join(str(rng.randrange(10)) for _ in range(rng.randint(1, longest)))] = None
    mixed = rng.sample(list(sources), count)  # the short ones, of which there are few, came first
    return [(source, source[::-1]) for source in mixed]


def write_pairs(folder, pairs, name="train"):
    """Two aligned files, `name`.en and `name`.de; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{name}.{language}" for language in ("en", "de"))
    for path, side in zip(paths, zip(*pairs, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return paths


SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}


def write_multi30k(folder, name):
    """Multi30k's six files under `folder`, each called `name` with split and language put in; their pairs."""
    pairs = digit_pairs(140)
    for split, part in (("train", pairs[:100]), ("valid", pairs[100:120]), ("test", pairs[120:])):
        for language, lines in zip(("en", "de"), zip(*part, strict=True), strict=True):
            path = folder / name.format(split=SPLITS[split], language=language)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = "".join(f"{line}\n" for line in lines).encode()
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return pairs


def make_tokenizer(folder, model="wordpiece"):
    """A tokenizer learnt from a few dozen pairs: `VOCABULARY_SIZES[model]` pieces."""
    return Tokenizer.train(write_pairs(folder, digit_pairs(60)), VOCABULARY_SIZES[model], model)


def make_model(**changes):
    """A model of d_model 16 with one layer a side."""
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
    """An untrained model to search with: each prefix has a few likely next tokens, END often among them."""
    model = make_model(tie_embeddings="none", **changes)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if len(weight.shape) == 2:
            weight.assign(rng.normal(size=weight.shape) / 2)
    rows = rng.normal(size=model.output_map.embeddings.shape) / 3
    rows[END] = 3 * np.eye(rows.shape[1])[0]  # likely after some prefixes and not after others
    model.output_map.embeddings.assign(rows)
    last_norm(model).beta.assign(np.eye(rows.shape[1])[0] / 2)
    return model


def make_random(seed=0, **changes):
    """A model none of whose weights is left as it was initialised."""
    model = make_model(**{"tie_embeddings": "none", **changes})
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(weight + rng.normal(size=weight.shape) / 2)
    return model


def last_norm(model):
    """The layer normalisation before the logits."""
    return model.decoder.layers[-1].feed_forward_residual.layer_norm


@functools.cache
def two_replicas():
    """A strategy over the two logical devices; one a process, as a second would use the first's collectives anew."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compiled(model, optimizer=None, epsilon=0.1):
    """The model, ready for `fit` as in the main job."""
    if optimizer is None:
        schedule = TransformerSchedule.with_peak(3e-3, model.d_model, warmup_steps=60)
        optimizer = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)
    model.compile(optimizer, loss=LabelSmoothedCrossEntropy(epsilon), metrics=[MaskedAccuracy(), Perplexity()])
    return model


class Broken(Exception):
    """A run ends here."""


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


def random_batch(rng, source_lengths, target_lengths, vocabulary_size=VOCABULARY_SIZES["wordpiece"]):
    """A batch for `fit` with rows of the given lengths, 0 for a row without a token."""

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
    """Five batches of one shape with unlike numbers of tokens, the same at each call."""
    rng = np.random.default_rng(3)
    return [random_batch(rng, *rows) for rows in FIVE_LENGTHS]


def dataset(some=None):
    """`batches()`, or others, one a step."""
    first, *others = [tf.data.Dataset.from_tensors(batch) for batch in some or batches()]
    for other in others:
        first = first.concatenate(other)
    return first
