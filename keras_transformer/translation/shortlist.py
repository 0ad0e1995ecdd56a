"""The pieces that a translation of a sentence may have, by the pieces of the sentence."""

import hashlib
import json
import zipfile
from collections import Counter
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_transformer.files import written_beside
from keras_transformer.ids import END, NUM_RESERVED, PAD
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.inputs.tokenizers import vocabulary_sizes
from keras_transformer.translation.lexicon import likeliest, model_1

RESERVED = np.arange(NUM_RESERVED, dtype=np.int32)


class Shortlist:
    r"""The target pieces that a search chooses among, a part of the vocabulary for each sentence.

    In a small decoder the output map takes most of the time: it has a row for each piece of the vocabulary. With a
    shortlist, a sentence may have the likeliest translations of each of its pieces, and the pieces that are common
    anyway. A batch computes the logits of all pieces that one of its sentences may have. A sentence nevertheless gets
    the same translation alone and in a batch: pieces that it may not have get the probability 0.

    Probabilities and scores of a search are those among the pieces of the shortlist. `Translator.sample`, `score`,
    `alignment` and the token probabilities of `n_best(details=True)` take all pieces.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, Transformer, Translator, parallel_corpus
        from keras_transformer.translation import Shortlist

        Path("text").write_text("one two three\nfour five six\n")
        tokenizer = Tokenizer.train("text", vocabulary_size=280)
        shortlist = Shortlist.learn(parallel_corpus("text", "text", tokenizer), per_piece=10, common=20)
        model = Transformer.from_preset("quickstart", vocabulary_size=280)  # not trained
        print(Translator(model, tokenizer, max_extra_length=5, shortlist=shortlist)(["one two"]))
        ```

    Args:
        table: (V, K) integers, the target pieces of each source piece; PAD fills a row that has fewer. The row of PAD
            is not used.
        common: (F,) integers, the target pieces that every sentence may have.
        sizes: {"source": V, "target": V'}, the pieces of the vocabularies.
        fingerprint: the tokenizer's `fingerprint`, or None if it is not known.

    Raises:
        ValueError: the table has other rows than there are source pieces, or an id is no piece of the target.
    """

    def __init__(self, table: Any, common: Any, sizes: dict[str, int], fingerprint: Any = None) -> None:
        self.table, self.common = _whole("table", table), _whole("common", common)
        self.sizes, self.fingerprint = dict(sizes), fingerprint
        if missing := [side for side in ("source", "target") if side not in sizes]:
            raise ValueError(f"sizes must be {{'source': V, 'target': V'}}, and {missing[0]!r} is missing: {sizes}.")
        if self.common.ndim != 1:
            raise ValueError(f"common must be a list of ids, got an array of the shape {self.common.shape}.")
        # In their order: a file of before keeps its digest.
        self.common = np.array(list(dict.fromkeys(self.common.tolist())), np.int32)
        if self.table.ndim != 2 or len(self.table) != sizes["source"]:
            raise ValueError(f"table must have {sizes['source']} rows, one for each source piece: {self.table.shape}.")
        self.table[PAD] = PAD  # else a sentence would have other pieces in a batch of longer ones
        for name, ids in (("table", self.table), ("common", self.common)):
            if ids.size and not 0 <= ids.min() <= ids.max() < sizes["target"]:
                raise ValueError(
                    f"{name} has the id {ids.max() if ids.min() >= 0 else ids.min()}, which is no piece of the target: "
                    f"ids are from 0 to {sizes['target'] - 1}."
                )

    @classmethod
    def learn(cls, corpus: Any, *, per_piece: int = 30, common: int = 1000, max_pairs: int = 100_000) -> Self:
        """Learn a shortlist from a corpus by IBM Model 1.

        If both languages share a vocabulary, each source piece is among its own translations: names and numbers.

        Args:
            corpus: a dataset of `parallel_corpus`, that of the training. Reading it does not move its position.
            per_piece: int, the most translations of a source piece.
            common: int, how many of the most frequent target pieces every sentence may have.
            max_pairs: int, learn from the first so many pairs of the corpus. 100,000 pairs of 25 pieces need about 4
                GB of memory.

        Raises:
            TypeError: `corpus` is no dataset of `parallel_corpus`.
            ValueError: a number below 1.
        """
        if not hasattr(corpus, "vocabulary_sizes"):
            raise TypeError(f"corpus must be a dataset of parallel_corpus, got {shown(corpus)}.")
        per_piece, common = whole("per_piece", per_piece), whole("common", common)
        sizes = dict(corpus.vocabulary_sizes)
        pairs = _read(corpus, whole("max_pairs", max_pairs))
        found = likeliest(*model_1(pairs, sizes["source"]), sizes["source"], per_piece)
        if corpus.has_one_vocabulary:
            itself = np.arange(sizes["source"], dtype=np.int32)
            itself[:NUM_RESERVED] = PAD
            found = np.concatenate([itself[:, None], found], axis=1)
        counts = Counter(piece for _, pieces in pairs for piece in pieces)
        frequent = sorted(counts, key=lambda piece: (-counts[piece], piece))[:common]
        return cls(found, frequent, sizes, corpus.tokenizer_fingerprint)

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """Read a file that `save` wrote.

        Raises:
            ValueError: the file is no shortlist, or is damaged. The message names it.
            OSError: it cannot be read.
        """
        path = check_source(path)
        try:
            with open(path, "rb") as opened:
                file = np.load(opened, allow_pickle=False)
                if isinstance(file, np.ndarray):  # of a file `.npy`
                    raise ValueError("it holds a single array.")
                sizes = dict(zip(("source", "target"), file["sizes"].tolist(), strict=True))
                return cls(file["table"], file["common"], sizes, json.loads(str(file["fingerprint"])))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is not the file of a shortlist, or it is damaged: {reason}") from error

    def save(self, path: AnyPath, overwrite: bool = False) -> None:
        """Write one file, of NumPy's format `.npz`.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
        """
        with written_beside(path, overwrite, kind="file") as beside, open(beside, "wb") as file:
            np.savez_compressed(
                file,
                table=self.table,
                common=self.common,
                sizes=np.array([self.sizes["source"], self.sizes["target"]]),
                fingerprint=np.array(json.dumps(self.fingerprint)),
            )

    @property
    def digest(self) -> str:
        """str, the SHA-256 of the pieces. Equal shortlists have equal digests."""
        parts = (self.table.shape, self.table.tobytes(), self.common.tobytes())
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def check_fits(self, tokenizer, beam_size):
        """Raise ValueError if the shortlist belongs to another tokenizer, or has too few pieces for a beam."""
        sizes, fingerprint = vocabulary_sizes(tokenizer), getattr(tokenizer, "fingerprint", None)
        if sizes != self.sizes:
            raise ValueError(
                f"the shortlist has {self.sizes['source']} source and {self.sizes['target']} target pieces, the "
                f"tokenizer {sizes['source']} and {sizes['target']}. Learn a shortlist from a corpus of this tokenizer."
            )
        if None not in (fingerprint, self.fingerprint) and fingerprint != self.fingerprint:
            raise ValueError(
                "the shortlist belongs to another tokenizer of the same size. Learn one from a corpus of this one."
            )
        count = len(np.setdiff1d(self.common, RESERVED))
        if count < 2 * beam_size:
            raise ValueError(
                f"beam_size={beam_size} needs a shortlist with at least {2 * beam_size} pieces that every sentence may "
                f"have, reserved ones not counted, and this one has {count}. Learn one with a higher `common`."
            )

    def of_batch(self, source, prefix=None):
        """The pieces that the sentences of a batch may have, in TensorFlow ops.

        Args:
            source: (B, S) int32.
            prefix: (B, P) int32, ids of the target that a sentence needs besides, padded with PAD; or None.

        Returns:
            The pieces (U,) int32, the reserved ids first, (B, U) bool, which of them each sentence may have, and the
            places of the prefix among the pieces, (B, P) int32.
        """
        always = np.concatenate([RESERVED, self.common[~np.isin(self.common, RESERVED)]])
        batch = tf.shape(source)[0]
        own = tf.reshape(tf.gather(tf.constant(self.table), source), [batch, -1])  # (B, S·K)
        prefix = tf.zeros([batch, 0], tf.int32) if prefix is None else prefix
        own = tf.concat([prefix, own], axis=1)
        pieces, places = tf.unique(tf.concat([tf.constant(always), tf.reshape(own, [-1])], axis=0))
        count = tf.shape(pieces)[0]
        places = tf.reshape(places[len(always) :], [batch, -1])  # (B, P + S·K)
        cells = tf.reshape(places + tf.range(batch)[:, None] * count, [-1, 1])
        marks = tf.scatter_nd(cells, tf.ones_like(cells[:, 0]), [batch * count])
        allowed = (tf.reshape(marks, [batch, count]) > 0) | (tf.range(count) < len(always))
        return pieces, allowed, places[:, : tf.shape(prefix)[1]]

    def __repr__(self):
        return f"Shortlist({self.table.shape[1]} pieces for each source piece, {len(self.common)} for all)"


def _whole(name, ids):
    """Ids as an array of int32. ValueError if they are no whole numbers."""
    ids = np.asarray(ids)
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must hold ids, which are whole numbers, got an array of {ids.dtype}.")
    return ids.astype(np.int32)


def _read(corpus, most):
    """At most `most` pairs of a corpus, in its order: lists of ids without START and END."""
    pairs, step = [], corpus.position.step
    for inputs, labels in corpus:
        for source, target in zip(inputs["source"].numpy(), labels.numpy(), strict=True):
            if target[0] != PAD:
                pairs.append(tuple(row[(row != PAD) & (row != END)].tolist() for row in (source, target)))
        if len(pairs) >= most:
            break
    corpus.position.step = step
    return pairs[:most]
