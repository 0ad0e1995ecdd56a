"""Two aligned text files in, padded batches of a fixed token budget out."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

from keras_transformer.data.aligned_texts import aligned_texts, corpus_pairs
from keras_transformer.data.batches import Position, stream
from keras_transformer.data.buckets import Plan
from keras_transformer.data.fit import MOST_FALLBACK, MOST_PIECES_A_WORD, misfits
from keras_transformer.data.order import Order
from keras_transformer.data.pair_counting import store_pairs
from keras_transformer.data.report import make_report
from keras_transformer.data.segmentations import Segmentations
from keras_transformer.data.store import PairStore
from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.numbers import switch, whole
from keras_transformer.inputs.tokenizers import AnyTokenizer, check_tokenizer, has_one_vocabulary, vocabulary_sizes
from keras_transformer.readers.corpora import Corpora

MOST_COPIES = 0.5  # of the pairs: no two languages have so many equal sentences

logger = logging.getLogger("keras_transformer")


def read_pairs(source: Corpora, target: Corpora) -> list[tuple[str, str]]:
    r"""Read a small aligned corpus, for example a test set, as a list of (source, target) strings. Keeps all pairs.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer.data import read_pairs

        Path("test.en").write_text("a cat\nthe dog\n")
        Path("test.de").write_text("eine Katze\nder Hund\n")
        sources, targets = zip(*read_pairs("test.en", "test.de"))
        ```

    Args:
        source, target: as in `parallel_corpus`.

    Raises:
        ValueError: the sides have different numbers of sentences or none, or bytes are not UTF-8.
        TypeError: an argument is neither paths nor sentences.
        OSError: a file cannot be read.
    """
    return [pair for corpora in corpus_pairs(source, target) for pair in aligned_texts(*corpora)]


def parallel_corpus(
    source: Corpora,
    target: Corpora,
    tokenizer: AnyTokenizer,
    *,
    weights: Sequence[float] | None = None,
    tokens_per_batch: int = 8192,
    max_length: int = 256,
    num_shapes: int = 12,
    shuffle: bool = True,
    seed: int = 0,
    start: tuple[int, int] = (0, 0),
    rows_multiple: int = 8,
    segmentations: int = 1,
    segmentation_alpha: float | None = None,
) -> Any:
    r"""Read aligned sentences as a dataset of batches for `Transformer.fit`.

    The call reads and tokenizes the sentences once. It leaves out each pair that has an empty side (without a visible
    character) or a side that is too long; it counts these pairs and logs the number. It writes the ids of the other
    pairs to temporary files, from which each epoch reads, so memory does not grow with the corpus. The files are in the
    folder that the environment variable TMPDIR names. They take 32 bytes for each pair, and for each id 2 bytes with at
    most 65,536 pieces, or 4 if a side has more. A tokenizer that does not fit the sentences gets a warning: too many
    pieces for each word, or too many bytes and unknown pieces.

    From the lengths of the pairs the call chooses a few padded shapes that need the least padding. This fixes the
    number of batches of an epoch: `dataset.cardinality()`.

    With `shuffle`, an epoch is a random order of the whole corpus. In each epoch a pair is in another batch, with other
    pairs, and the batches of all shapes are mixed. The order depends only on `seed` and the number of the epoch, so
    another process can resume at any batch. Without `shuffle` all epochs have the same order: they go shape by shape,
    and inside a shape the pairs are in the order of the files.

    With `segmentations`, the epochs take different segmentations of the same sentences: subword regularization, from
    which a model can learn more of a small corpus. Each pair gets this number of segmentations. They are drawn at
    random, as `SegmentationSampler` describes, and each needs the disk space of a corpus. The epochs take them in turn:
    with 5, the sixth epoch takes the first again, also without `shuffle`. A segmentation that is longer than
    `max_length` is replaced by the usual one. Validation data need the usual one only.

    A pass over the dataset has as many batches as an epoch. The first pass begins at `start`, and each pass that is
    read to its end makes the next one begin where it stopped. A pass that begins inside an epoch therefore ends inside
    the next. `dataset.position.move_to(epoch, batch)` changes the position later.
    `keras_transformer.training.Checkpoint` uses it to resume.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, parallel_corpus

        Path("train.en").write_text("a cat\nthe dog\n")
        Path("train.de").write_text("eine Katze\nder Hund\n")
        tokenizer = Tokenizer.train(["train.en", "train.de"], vocabulary_size=280)
        corpus = parallel_corpus("train.en", "train.de", tokenizer)
        inputs, labels = next(iter(corpus))
        print(inputs["source"].shape, inputs["target"].shape, labels.shape)
        ```

    Args:
        source, target: a path each, or lists of paths, plain or `.gz`, UTF-8, one sentence a line. Or the sentences
            themselves: a list of strings, a generator, a column of a table of pandas or of a dataset of Hugging Face.
            Or a list of several of these. Everything is read once. A list of strings holds paths if the first one is
            the name of a file or looks like one ("train.en", "data/train"), and sentences otherwise.
        tokenizer: a `Tokenizer`, a `TokenizerPair`, or another object with `vocabulary_size` and
            `tokenize(strings, side)`. This takes strings [N] and "source" or "target", and returns ragged int32 ids
            [N, None] without END.
        weights: a list with a number above 0 for each corpus: how often an epoch takes each pair of it. With 3, an
            epoch takes each pair three times. With 0.25, it takes a quarter of the pairs, and four epochs take them
            all. The number of pairs is rounded in each shape, to at least one. None means 1 for all.
        tokens_per_batch: int, the most tokens in a batch: its rows times its longer padded side.
        max_length: int, the longest side that a kept pair may have, in ids with END.
        num_shapes: int, the most padded shapes to use.
        shuffle: bool, see above.
        seed: int, for the order.
        start: (epoch, batch), both from 0.
        rows_multiple: int. The rows of a batch are a multiple of it. With 8, each of 2, 4 or 8 replicas gets the same
            number of rows. If `tokens_per_batch` does not allow that many rows, they are a power of two.
        segmentations: int, how many segmentations of each pair the epochs take in turn. 1 is the usual one.
        segmentation_alpha: float, how far the drawn segmentations are from the usual one: `alpha` of
            `Tokenizer.sampler`. None is its default.

    Returns:
        A `tf.data.Dataset` of `({"source": (B, S), "target": (B, T)}, labels (B, T))`, all int32. A source row is
        pieces + END, a target row is START + pieces, a row of labels is pieces + END, and PAD fills the rest. Each
        batch has one of the chosen shapes. Rows of PAD fill the last batch of a shape. The dataset has these
        attributes:

        - `report`, a `CorpusReport`;
        - `vocabulary_sizes`, how many pieces the tokenizer has for "source" and "target";
        - `has_one_vocabulary`, whether the same ids are the same pieces on both sides;
        - `tokenizer_fingerprint`, the tokenizer's `fingerprint`, if it has one;
        - `position`, where the next pass begins;
        - `fingerprint`, a dictionary of all that the data and their order depend on, except the tokenizer.

    Raises:
        ValueError: an argument is not allowed; the sides have different numbers of sentences or none; bytes are not
            UTF-8; a sentence has a line break inside, or begins with a target language that the tokenizer lacks; an id
            is reserved or outside the vocabulary; no pair is left; a kept sentence is longer than `tokens_per_batch`;
            the tokenizers of a `TokenizerPair` are exchanged (found in the first texts, if there are 20).
        TypeError: an argument is of another kind, for example a table, or a path in place of the tokenizer; an item is
            no string. The message names the argument and the place.
        OSError: a file cannot be read, or the disk is full.
    """
    check_tokenizer(tokenizer, "parallel_corpus(source, target, tokenizer)")
    sizes = {"tokens_per_batch": tokens_per_batch, "max_length": max_length, "num_shapes": num_shapes}
    sizes = {name: whole(name, value) for name, value in {**sizes, "rows_multiple": rows_multiple}.items()}
    tokens_per_batch, max_length, num_shapes, rows_multiple = sizes.values()
    shuffle = switch("shuffle", shuffle)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed must be a whole number, got {seed!r}.")
    start = _checked_start(start)
    segmentations = Segmentations(tokenizer, segmentations, segmentation_alpha, seed, max_length)
    corpora = corpus_pairs(source, target)
    weights = _checked_weights(weights, corpora)
    store = PairStore(max(vocabulary_sizes(tokenizer).values()))
    counts, lines = store_pairs(corpora, tokenizer, max_length, segmentations, store)
    _check_longest(counts, corpora, tokens_per_batch, max_length)
    plan = Plan(counts, weights, tokens_per_batch, num_shapes, rows_multiple)
    plan.sort(store)
    report = make_report(counts, plan, corpora, max_length)
    logger.info("%s", report)
    if report.kept < report.pairs:
        logger.warning("%d of %d sentence pairs left out: %s", report.pairs - report.kept, report.pairs, report.dropped)
    if report.copies > MOST_COPIES * report.pairs:
        logger.warning(
            "%d of %d sentence pairs have the same text on both sides. A model of them learns to copy. Check which "
            "files you gave.",
            *(report.copies, report.pairs),
        )
    for side, fit in misfits({"source": report.source_fit, "target": report.target_fit}, tokenizer).items():
        logger.warning(
            "the tokenizer does not fit the %s: %s. One that was trained on such text has at most %.0f pieces a word "
            "and %.0f%% bytes or unknown. Train one on these files, or check which files and which tokenizer you gave.",
            *(side, fit, MOST_PIECES_A_WORD, 100 * MOST_FALLBACK),
        )

    rows = [shape.rows for shape in plan.shapes]
    order = Order(plan.pairs, plan.taken, rows, int(seed) if shuffle else None, plan.segmentations)
    position = Position(order.batches)
    position.move_to(*start)
    dataset = stream(store, order, plan.shapes, position)
    dataset.report, dataset.position = report, position
    dataset.vocabulary_sizes = vocabulary_sizes(tokenizer)
    dataset.has_one_vocabulary = has_one_vocabulary(tokenizer)
    dataset.tokenizer_fingerprint = getattr(tokenizer, "fingerprint", None)
    options = {**sizes, "shuffle": shuffle, "seed": int(seed), **segmentations.options}
    dataset.fingerprint = {"lines": lines, "pairs": report.kept, "weights": weights, **options}
    return dataset


def _checked_weights(weights, corpora):
    """A weight for each pair of corpora, as floats.

    Raises:
        TypeError: no list of numbers.
        ValueError: there are more or fewer weights than corpora, or one is not a finite number above 0.
    """
    if weights is not None and (isinstance(weights, str | bytes) or not isinstance(weights, Iterable)):
        raise TypeError(f"weights must be a list of numbers, one for each path, got {shown(weights)}.")
    weights = [1.0] * len(corpora) if weights is None else list(weights)
    if len(weights) != len(corpora):
        raise ValueError(f"weights must have one number for each path: got {len(weights)} for {len(corpora)}.")
    for weight in weights:
        if isinstance(weight, bool) or not hasattr(weight, "__float__") or not 0 < float(weight) < math.inf:
            raise ValueError(f"weights must be numbers above 0, got {weight!r}. Leave a file out to use none of it.")
    return [float(weight) for weight in weights]


def _checked_start(start):
    """The two parts of `start`.

    Raises:
        TypeError: it has not two parts.
    """
    if not isinstance(start, tuple | list) or len(start) != 2:
        raise TypeError(f"start must be (epoch, batch), both from 0, got {shown(start)}.")
    return start


def _check_longest(counts, corpora, tokens_per_batch, max_length):
    """Raise a ValueError if no pair is left, or if a batch cannot hold the longest sentence."""
    longest = max((max(lengths) for corpus in counts for counter in corpus.lengths for lengths in counter), default=0)
    if not longest:
        names = ", ".join(f"{source.name} and {target.name}" for source, target in corpora)
        empty, long = (sum(getattr(corpus, f"dropped_{why}") for corpus in counts) for why in ("empty", "long"))
        raise ValueError(
            f"No sentence pair is left of {names}: {empty:,} have an empty side, {long:,} have a side of more than "
            f"max_length={max_length} ids. Check the files, or raise max_length."
        )
    if tokens_per_batch < longest:
        raise ValueError(
            f"tokens_per_batch={tokens_per_batch} cannot hold the longest sentence, {longest} ids with END. "
            f"Raise tokens_per_batch, or lower max_length={max_length}."
        )
