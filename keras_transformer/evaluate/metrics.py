"""The metrics by name: sacreBLEU's objects, and what becomes of the texts before."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from sacrebleu.metrics import BLEU, CHRF, TER

from keras_transformer.evaluate.paper import moses_cutter, paper_tokens
from keras_transformer.inputs.kinds import check_iterable

MORE = ("chrf++", "ter", "paper_bleu")
TITLES = {"bleu": "BLEU", "chrf": "chrF", "chrf++": "chrF++", "ter": "TER", "paper_bleu": "BLEU of the paper"}


@dataclass(frozen=True)
class Metric:
    """A metric of a corpus.

    Attributes:
        make: a function from keywords of sacreBLEU to its metric, for example `BLEU`.
        prepare: a function from a list of texts to the texts that the metric sees.
        note: added to sacreBLEU's signature.
    """

    make: Callable[..., Any]
    prepare: Callable[[list], list] = list
    note: str = ""

    def prepared(self, streams):
        """The texts of all streams of references that the metric sees. None, no reference, stays None."""
        return [self._prepared_stream(stream) for stream in streams]

    def _prepared_stream(self, stream):
        texts = iter(self.prepare([text for text in stream if text is not None]))
        return [None if text is None else next(texts) for text in stream]


def metrics(tokenize, more, language):
    """The metrics that are asked for: {name: `Metric`}, BLEU and chrF first.

    Args:
        tokenize, more, language: see `evaluate`.

    Raises:
        ImportError: sacremoses or a package of the tokenizer is needed, and is not installed.
        OSError: a download that the tokenizer needs failed.
        TypeError: `more` is no list of strings.
        ValueError: an unknown tokenizer, metric or language.
    """
    bleu_metric(tokenize)
    check_iterable("more", more)
    more = list(more)
    for name in more:
        if name not in MORE:
            raise ValueError(f"more must be of {', '.join(MORE)}, got {name!r}. BLEU and chrF are always there.")

    chosen = {"bleu": Metric(partial(bleu_metric, tokenize)), "chrf": Metric(CHRF)}
    if "chrf++" in more:
        chosen["chrf++"] = Metric(lambda **options: CHRF(word_order=2, **options))
    if "ter" in more:
        chosen["ter"] = Metric(TER)
    if "paper_bleu" in more:
        chosen["paper_bleu"] = paper_metric(language)
    return chosen


def bleu_metric(tokenize, argument="tokenize", **options):
    """sacreBLEU's BLEU with a tokenizer, for which it may need a package or a download.

    Args:
        tokenize: the name of the tokenizer.
        argument: what messages call it.
        **options: those of sacreBLEU's `BLEU`.

    Raises:
        ValueError: sacreBLEU knows no such tokenizer.
        ImportError: the tokenizer's package is not installed.
        OSError: the download failed.
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"{argument} must be one of {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}.")
    try:
        # "force" silences sacreBLEU's warning about tokenized input, which "none" asks for.
        return BLEU(tokenize=tokenize, force=tokenize == "none", **options)
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        language = tokenize.partition("-")[0]
        raise ImportError(f"{argument}={tokenize!r} needs pip install 'sacrebleu[{language}]': {reason}") from error
    except OSError as error:
        reason = f"a file that sacreBLEU downloads, and that failed: {error}"
        raise OSError(f"{argument}={tokenize!r} needs {reason}. Check the network, or take another one.") from error


def paper_metric(language):
    """The paper's BLEU. It is not smoothed, as in Moses' `multi-bleu.perl`.

    Raises:
        ImportError, ValueError: see `paper_tokens`.
    """
    moses_cutter(language)  # it refuses what `paper_tokens` would refuse later
    return Metric(
        make=lambda **options: BLEU(tokenize="none", smooth_method="none", force=True, **options),
        prepare=lambda texts: paper_tokens(texts, language),
        note=f"|moses:{language}|compounds:split|sacremoses:{version('sacremoses')}",
    )


def closest(texts, reference):
    """The text with the highest BLEU of a sentence by sacreBLEU; of equal ones, the first.

    Args:
        texts: a list of strings, at least one.
        reference: a string.
    """
    bleu = BLEU(effective_order=True)
    return max(texts, key=lambda text: bleu.sentence_score(text, [reference]).score)
