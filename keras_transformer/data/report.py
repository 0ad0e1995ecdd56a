"""What a corpus holds, what was left out of it, and how it is padded."""

from dataclasses import dataclass
from typing import NamedTuple

from keras_transformer.data.fit import Fit, joined


class CorpusShare(NamedTuple):
    """What one of several corpora gives to an epoch. `pairs` and `kept` count each pair once."""

    source: str
    pairs: int
    kept: int
    weight: float
    pairs_an_epoch: int


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds, what was left out of it, and how it is padded.

    Attributes:
        pairs, kept, dropped_empty, dropped_long: how many pairs the files have, how many were kept, and how many were
            left out because a side was empty or too long. Each pair counts once, whatever its weight.
        max_length: the longest side of a kept pair in ids, END included.
        source_tokens, target_tokens: how many tokens an epoch has, END included. With weights this is an average.
        source_positions, target_positions: how many positions the batches of an epoch have, padding included.
        shapes: the padded shapes, (source length, target length, rows) each.
        batches: how many batches an epoch has.
        corpora: a `CorpusShare` for each pair of files.
        source_fit, target_fit: a `Fit` of each side: pieces a word, and the share of bytes and unknown pieces. They
            count all pairs of the files, also those that were left out, in their usual segmentation.
        segmentations: how many segmentations of each pair the epochs take in turn. The tokens are their average.
        copies: how many pairs of the files have the same text on both sides.
    """

    pairs: int
    kept: int
    dropped_empty: int
    dropped_long: int
    max_length: int
    source_tokens: int
    target_tokens: int
    source_positions: int
    target_positions: int
    shapes: tuple
    batches: int
    corpora: tuple = ()
    source_fit: Fit | None = None
    target_fit: Fit | None = None
    segmentations: int = 1
    copies: int = 0

    @property
    def source_padding(self):
        """Padding positions for each source token."""
        return self.source_positions / self.source_tokens - 1

    @property
    def target_padding(self):
        """Padding positions for each target token."""
        return self.target_positions / self.target_tokens - 1

    @property
    def dropped(self):
        """How many pairs were left out and why, in words."""
        return (
            f"{self.dropped_empty:,} with an empty side, "
            f"{self.dropped_long:,} with a side of more than max_length={self.max_length} ids"
        )

    def __str__(self):
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        shares = "".join(
            f"{share.source}: {share.kept:,} of {share.pairs:,} pairs kept; "
            f"weight {share.weight:g}, {share.pairs_an_epoch:,} pairs an epoch\n"
            for share in self.corpora
            if len(self.corpora) > 1 or share.weight != 1
        )
        sides = {"source": self.source_fit, "target": self.target_fit}
        fits = "; ".join(f"{side}: {fit}" for side, fit in sides.items() if fit is not None)
        fits += "\n" if fits else ""
        copies = f"{self.copies:,} pairs have the same text on both sides\n" if self.copies else ""
        drawn = f"{self.segmentations} segmentations of each pair, in turn\n" if self.segmentations > 1 else ""
        return (
            f"{self.kept:,} of {self.pairs:,} sentence pairs kept; left out: {self.dropped}\n"
            f"{shares}"
            f"{copies}"
            f"{drawn}"
            f"{self.source_tokens:,} source and {self.target_tokens:,} target tokens, END included\n"
            f"{fits}"
            f"{self.batches:,} batches an epoch, {self.target_tokens / self.batches:,.0f} target tokens in each\n"
            f"padding adds {self.source_padding:.1%} to the source and {self.target_padding:.1%} to the target tokens\n"
            f"{len(self.shapes)} shapes (source x target x rows): {shapes}"
        )


def make_report(counts, plan, corpora, max_length):
    """The `CorpusReport` of pairs of `Corpus` from their `Counts` and their `Plan`."""
    kept = [corpus.kept for corpus in counts]
    pairs = [corpus.kept + corpus.dropped_empty + corpus.dropped_long for corpus in counts]
    rows = [int(number) * shape.rows for number, shape in zip(plan.batches, plan.shapes, strict=True)]  # of an epoch
    sources = [source.name for source, _ in corpora]
    taken = plan.taken.sum(axis=0).tolist()
    return CorpusReport(
        pairs=sum(pairs),
        kept=sum(kept),
        dropped_empty=sum(corpus.dropped_empty for corpus in counts),
        dropped_long=sum(corpus.dropped_long for corpus in counts),
        max_length=max_length,
        source_tokens=plan.in_an_epoch(plan.source_tokens),
        target_tokens=plan.in_an_epoch(plan.target_tokens),
        source_positions=sum(number * shape.source for number, shape in zip(rows, plan.shapes, strict=True)),
        target_positions=sum(number * shape.target for number, shape in zip(rows, plan.shapes, strict=True)),
        shapes=plan.shapes,
        batches=int(plan.batches.sum()),
        source_fit=joined([corpus.fits[0] for corpus in counts]),
        target_fit=joined([corpus.fits[1] for corpus in counts]),
        segmentations=plan.segmentations,
        copies=sum(corpus.copies for corpus in counts),
        corpora=tuple(CorpusShare(*share) for share in zip(sources, pairs, kept, plan.weights, taken, strict=True)),
    )
