"""Take validation pairs out of a training corpus, so that no validation sentence is trained on."""

import contextlib
import hashlib

import numpy as np

from keras_transformer.data.aligned_texts import aligned_texts, check_texts, corpus_pairs
from keras_transformer.files import written_beside
from keras_transformer.inputs.blank import is_blank
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import check_target
from keras_transformer.readers.corpora import Corpus
from keras_transformer.readers.pipes import reread

SPLIT_FILES = {
    "train": ("train.source", "train.target"),
    "valid": ("valid.source", "valid.target"),
}
MOST_BY_DEFAULT = 2000  # pairs; more would only take time in each epoch
SHARE_BY_DEFAULT = 20  # one pair of so many
NEVER = 2**64 - 1  # the key of a pair that is never chosen: it has a blank side


def split_corpus(source, target, folder, valid_pairs=None, seed=0):
    r"""Divide an aligned corpus into training pairs and validation pairs, and write both.

    All pairs of a source sentence go to the same part. So no validation sentence is also a training sentence, even if
    the corpus repeats it. Which sentences are chosen depends only on the sentences and the seed, not on their order.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer.data import split_corpus

        Path("all.en").write_text("one\ntwo\nthree\nfour\n")
        Path("all.de").write_text("eins\nzwei\ndrei\nvier\n")
        parts = split_corpus("all.en", "all.de", "data", valid_pairs=1)
        assert len(Path(parts["valid"][0]).read_text().split()) == 1
        ```

    Args:
        source, target: as in `parallel_corpus`.
        folder: gets `train.source`, `train.target`, `valid.source` and `valid.target`. Older files of these names are
            replaced. The other files of the folder stay.
        valid_pairs: the fewest pairs to take out. If the last chosen sentence stands in several pairs, all of them are
            taken. None is a twentieth of the corpus, at most 2,000 pairs. Pairs with a blank side are not counted, and
            stay with the training pairs.
        seed: int.

    Returns:
        {"train": (source path, target path), "valid": (source path, target path)}.

    Raises:
        ValueError: no training pair would be left; a text has a line break inside or half a surrogate pair; the sides
            have different numbers of sentences; bytes are not UTF-8.
        TypeError: an argument is neither paths nor sentences.
        OSError: a file cannot be read or written. Older files are intact.
    """
    seed = whole("seed", seed, 0)
    folder = check_target(folder, "folder", "folder", inside=True)
    with contextlib.ExitStack() as copies:
        corpora = [[_readable(corpus, copies) for corpus in pair] for pair in corpus_pairs(source, target)]
        keys = np.fromiter(
            (NEVER if any(map(is_blank, pair)) else _key(pair[0], seed) for pair in _pairs(corpora)), np.uint64
        )
        count = int((keys != NEVER).sum())
        number = _number_of_pairs(valid_pairs, count)
        last = np.sort(keys)[number - 1]
        if (keys <= last).sum() >= count:
            raise ValueError(
                f"valid_pairs={number} of {count:,} pairs would leave none to train on. Take fewer, or give "
                "validation files."
            )
        paths = {part: tuple(folder / name for name in names) for part, names in SPLIT_FILES.items()}
        beside = {
            path: copies.enter_context(written_beside(path, overwrite=True, kind="file"))
            for pair in paths.values()
            for path in pair
        }
        streams = {
            path: copies.enter_context(open(file, "w", encoding="utf-8", newline="\n")) for path, file in beside.items()
        }
        for key, pair in zip(keys, _pairs(corpora), strict=True):
            for path, text in zip(paths["valid" if key <= last else "train"], pair, strict=True):
                streams[path].write(f"{text}\n")
    return paths


def _readable(corpus, copies):
    """A `Corpus` that can be read twice: a pipe or a generator is copied for as long as `copies` is open."""
    if corpus.is_file:
        return Corpus(corpus.name, copies.enter_context(reread(corpus.texts)))
    return corpus if iter(corpus.texts) is not corpus.texts else Corpus(corpus.name, list(corpus.texts))


def _pairs(corpora):
    """Yield the pairs of all corpora.

    Raises:
        ValueError: see `split_corpus`.
    """
    for corpus in corpora:
        for number, pair in enumerate(aligned_texts(*corpus)):
            check_texts(corpus, [[text] for text in pair], number, codes=())
            yield pair


def _key(text, seed):
    """A number that looks random, the same for the same text and seed."""
    digest = hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8, key=str(seed).encode())
    return min(int.from_bytes(digest.digest(), "big"), NEVER - 1)


def _number_of_pairs(valid_pairs, pairs):
    if valid_pairs is not None:
        return min(whole("valid_pairs", valid_pairs), pairs)
    return max(1, min(MOST_BY_DEFAULT, pairs // SHARE_BY_DEFAULT))
