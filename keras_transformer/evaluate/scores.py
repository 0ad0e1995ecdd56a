"""The scores of a list of translations."""

from collections.abc import Sequence
from dataclasses import dataclass

from keras_transformer.evaluate.metrics import TITLES, metrics
from keras_transformer.evaluate.references import reference_streams
from keras_transformer.inputs.kinds import Texts, read_sentences


@dataclass(frozen=True)
class Scores:
    """Scores of a corpus, from 0 to 100, with sacreBLEU's signatures, which make them comparable.

    The fields after `chrf_signature` are None unless `evaluate` was asked for them. TER counts edits, so a lower
    number is better, and it may exceed 100.
    """

    bleu: float
    bleu_details: str  # n-gram precisions, brevity penalty, lengths
    bleu_signature: str
    chrf: float
    chrf_signature: str
    chrf_plus_plus: float | None = None
    chrf_plus_plus_signature: str | None = None
    ter: float | None = None
    ter_signature: str | None = None
    paper_bleu: float | None = None
    paper_bleu_details: str | None = None
    paper_bleu_signature: str | None = None

    def __str__(self) -> str:
        lines = []
        for name, title in TITLES.items():
            field = field_of(name)
            if (score := getattr(self, field)) is not None:
                details = getattr(self, f"{field}_details", None)
                lines += [f"{title} {score:.2f}" + (f"  {details}" if details else "")]
                lines += [f"  {getattr(self, f'{field}_signature')}"]
        return "\n".join(lines)


def field_of(name):
    """The name of a metric as a field of `Scores`: "chrf++" is `chrf_plus_plus`."""
    return name.replace("++", "_plus_plus")


def evaluate(
    translations: Texts,
    references: Texts | Sequence[Texts],
    tokenize: str = "13a",
    more: Sequence[str] = (),
    language: str = "de",
) -> Scores:
    """Score translations with BLEU and chrF, and with more metrics, against one reference each, or several.

    "paper_bleu" is the BLEU of "Attention Is All You Need" and of most papers before 2018: it counts n-grams of Moses
    tokens with split compounds, see `paper_tokens`, so it is higher than sacreBLEU's default. It needs the extra
    `moses`.

    Example:
        ```python
        from keras_transformer.evaluate import evaluate

        scores = evaluate(["the cat sat on a mat"], ["the cat sat on the mat"], more=["ter"])
        print(scores)
        assert 0 < scores.bleu < 100 and round(scores.ter) == round(100 / 6)  # an edit of six words
        ```

    Args:
        translations: an iterable of strings.
        references: an iterable of as many strings. Several references for each: as many lists of strings, one list for
            each translation; the lists may differ in length. Or sacreBLEU's layout: a list of as many strings for the
            first reference of each translation, another for the second, and so on; None stands for no reference.
        tokenize: the name of sacreBLEU's tokenizer for BLEU. "13a" is for running text. "none" is for text that is
            already tokenized, as for the published scores of Multi30k.
        more: more metrics, a list of "chrf++", "ter" and "paper_bleu".
        language: the code of the language of the translations, for "paper_bleu".

    Returns:
        `Scores`.

    Raises:
        TypeError: `translations` or `references` is no list, or holds something else than strings. The message gives
            the place.
        ValueError: the lists are empty or differ in length, hold names of files, or can be read in both layouts; or
            the tokenizer, a metric or the language is unknown.
        ImportError: "paper_bleu" needs sacremoses, which is not installed.
    """
    translations = read_sentences("translations", translations)
    chosen = metrics(tokenize, more, language)
    streams = reference_streams(references, len(translations), "translations")
    return score_streams(translations, streams, chosen)


def score_streams(translations, streams, chosen):
    """`evaluate`, with checked arguments.

    Args:
        translations: a list of strings.
        streams: see `reference_streams`.
        chosen: the result of `metrics`.
    """
    fields = {}
    for name, metric in chosen.items():
        scorer, field = metric.make(), field_of(name)
        score = scorer.corpus_score(metric.prepare(translations), metric.prepared(streams))
        fields |= {field: score.score, f"{field}_signature": f"{scorer.get_signature()}{metric.note}"}
        if name.endswith("bleu"):
            fields[f"{field}_details"] = score.format(score_only=False).split("= ", 1)[1].split(" ", 1)[1]
    return Scores(**fields)
