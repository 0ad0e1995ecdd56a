"""Is a system better than another one, or was it luck? Paired bootstrap resampling, computed by sacreBLEU."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sacrebleu.significance import PairedTest

from keras_transformer.evaluate.metrics import TITLES, metrics
from keras_transformer.evaluate.references import reference_streams
from keras_transformer.inputs.kinds import Texts, read_sentences, shown
from keras_transformer.inputs.numbers import whole

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class ComparedScore:
    """A score of a system, with what the samples say of it.

    Attributes:
        score: of the whole corpus.
        mean: over the samples.
        interval: half the width of the interval around the mean that holds 95% of the samples.
        p_value: how likely so large a difference from the baseline is if both systems are equally good; 1 if the scores
            are equal, and None for the baseline itself.
    """

    score: float
    mean: float
    interval: float
    p_value: float | None = None

    def __str__(self) -> str:
        text = f"{self.score:.2f} ({self.mean:.2f} ± {self.interval:.2f})"
        if self.p_value is None:
            return text
        return f"{text}, p = {self.p_value:.4f}{' *' if self.is_significant else ''}"

    @property
    def is_significant(self) -> bool:
        """Whether the difference from the baseline is hardly luck: a `p_value` of at most 0.05."""
        return self.p_value is not None and self.p_value <= SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    """Systems compared with a baseline.

    Attributes:
        baseline: the name of the system that the others are compared with.
        scores: {metric: {system: `ComparedScore`}}. The metrics are "bleu", "chrf" and those that were asked for.
        signatures: {metric: the signature, with the number of samples and the seed}.
    """

    baseline: str
    scores: dict[str, dict[str, ComparedScore]]
    signatures: dict[str, str]

    def __str__(self) -> str:
        lines = []
        for metric, systems in self.scores.items():
            lines += [TITLES[metric], f"  {self.signatures[metric]}"]
            width = max(map(len, systems))
            lines += [f"  {name:<{width}}  {score}" for name, score in systems.items()]
        return "\n".join([*lines, self.legend])

    @property
    def legend(self) -> str:
        """What the numbers mean, in one line."""
        return (
            f"Score (mean ± half of the 95% interval of the samples). The baseline is {self.baseline}; * is p ≤ "
            f"{SIGNIFICANT}."
        )


def compare(
    systems: Mapping[str, Texts],
    references: Texts | Sequence[Texts],
    tokenize: str = "13a",
    more: Sequence[str] = (),
    language: str = "de",
    samples: int = 1000,
) -> Comparison:
    """Compare the translations of systems with those of the first one, by paired bootstrap resampling.

    Sentences are drawn with replacement, as many as there are, in each of the samples. The numbers are those of
    `sacrebleu --paired-bs`, digit for digit: the seed is 12345, or what the environment variable SACREBLEU_SEED holds.
    Only where two scores are equal, the p-value is 1. sacreBLEU gives its smallest then, 1 / (samples + 1), because no
    sample has a difference above zero.

    Example:
        ```python
        from keras_transformer.evaluate import compare

        references = ["the cat sat on the mat", "a dog runs home", "two men sing a song"]
        others = ["the cat sat on a mat", "a dog runs home", "two men sing songs"]
        comparison = compare({"old": others, "new": references}, references, samples=100)
        print(comparison)
        assert comparison.baseline == "old" and comparison.scores["bleu"]["new"].p_value < 1
        ```

    Args:
        systems: {name: translations}, at least two; the first is the baseline.
        references, tokenize, more, language: see `evaluate`.
        samples: how many are drawn.

    Returns:
        `Comparison`.

    Raises:
        TypeError: `systems` is no dictionary, or see `evaluate`.
        ValueError: there are less than two systems, they have different numbers of translations, `samples` is below 1,
            SACREBLEU_SEED is no seed, or see `evaluate`.
        ImportError: see `evaluate`.
    """
    samples = checked_samples(samples)
    chosen = metrics(tokenize, more, language)
    systems = _read_systems(systems)
    streams = reference_streams(references, len(next(iter(systems.values()))), "translations")
    return compare_streams(systems, streams, chosen, samples)


def checked_samples(samples):
    """The number of samples, after a look at the seed in the environment.

    Raises:
        ValueError: `samples` is no whole number above 0, or SACREBLEU_SEED is no seed.
    """
    seed = os.environ.get("SACREBLEU_SEED", "12345")
    if seed.lower() != "none" and not seed.isdecimal():
        raise ValueError(
            f"SACREBLEU_SEED={seed!r} must be a whole number of at least 0, or none for another one each time."
        )
    return whole("samples", samples)


def compare_streams(systems, streams, chosen, samples):
    """`compare`, with checked arguments.

    Args:
        systems: {name: list of strings}, the baseline first.
        streams: see `reference_streams`.
        chosen: the result of `metrics`.
        samples: how many are drawn.
    """
    scores, signatures = {}, {}
    for name, metric in chosen.items():
        scorer = metric.make(references=metric.prepared(streams))
        named = [(system, metric.prepare(translations)) for system, translations in systems.items()]
        # One test for each metric: the samples depend on the seed and on the number of sentences only.
        found_signatures, results = PairedTest(named, {name: scorer}, None, test_type="bs", n_samples=samples)()
        del results["System"]
        [found], [signature] = results.values(), found_signatures.values()  # under sacreBLEU's name of the metric
        baseline = found[0].score
        scores[name] = {system: _plain(result, baseline) for system, result in zip(systems, found, strict=True)}
        signatures[name] = f"{signature}{metric.note}"
    return Comparison(next(iter(systems)), scores, signatures)


def _read_systems(systems):
    if not isinstance(systems, Mapping):
        raise TypeError(f"systems must be a dictionary of names to translations, got {shown(systems)}.")
    if len(systems) < 2:
        raise ValueError(f"systems must have at least 2 entries, the baseline first, got {len(systems)}.")
    systems = {str(name): read_sentences(f"systems[{name!r}]", texts) for name, texts in systems.items()}
    baseline, *others = systems
    for name in others:
        if len(systems[name]) != len(systems[baseline]):
            raise ValueError(
                f"systems[{name!r}] has {len(systems[name]):,} translations and systems[{baseline!r}] has "
                f"{len(systems[baseline]):,}: they must be of the same sentences."
            )
    return systems


def _plain(result, baseline):
    """A result of sacreBLEU with plain numbers, which JSON can hold. `baseline` is the score of the first system."""
    p_value = None if result.p_value is None else float(result.p_value)
    if p_value is not None and result.score == baseline:
        p_value = 1.0  # any difference is as large as none
    return ComparedScore(float(result.score), float(result.mean), float(result.ci), p_value)
