"""BLEU and chrF of translations, computed by sacreBLEU."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sacrebleu.metrics import BLEU, CHRF

from keras_transformer.inputs.kinds import Texts, check_iterable, read_sentences, shown


@dataclass(frozen=True)
class Scores:
    """BLEU and chrF of a corpus, from 0 to 100, with sacreBLEU's signatures, which make them comparable."""

    bleu: float
    bleu_details: str  # n-gram precisions, brevity penalty, lengths
    bleu_signature: str
    chrf: float
    chrf_signature: str

    def __str__(self) -> str:
        return (
            f"BLEU {self.bleu:.2f}  {self.bleu_details}\n  {self.bleu_signature}\n"
            f"chrF {self.chrf:.2f}\n  {self.chrf_signature}"
        )


def evaluate(translations: Texts, references: Texts | Sequence[Texts], tokenize: str = "13a") -> Scores:
    """Score translations with BLEU and chrF against one reference each, or several.

    Example:
        ```python
        from keras_transformer.evaluate import evaluate

        scores = evaluate(["the cat sat on a mat"], ["the cat sat on the mat"])
        print(scores)
        assert 0 < scores.bleu < 100
        ```

    Args:
        translations: an iterable of strings.
        references: an iterable of as many strings. Several references for each: as many lists of strings, one list for
            each translation; the lists may differ in length. Or sacreBLEU's layout: a list of as many strings for the
            first reference of each translation, another for the second, and so on; None stands for no reference.
        tokenize: the name of sacreBLEU's tokenizer. "13a" is for running text. "none" is for text that is already
            tokenized, as for the published scores of Multi30k.

    Returns:
        `Scores`.

    Raises:
        TypeError: `translations` or `references` is no list, or holds something else than strings. The message gives
            the place.
        ValueError: the lists are empty or differ in length, hold names of files, or can be read in both layouts; or
            sacreBLEU does not know the tokenizer.
        ImportError, OSError: the tokenizer needs a package or a download that is not there.
    """
    translations = read_sentences("translations", translations)
    bleu, chrf = bleu_metric(tokenize), CHRF()
    streams = reference_streams(references, len(translations), "translations")
    bleu_score = bleu.corpus_score(translations, streams)
    chrf_score = chrf.corpus_score(translations, streams)
    return Scores(
        bleu=bleu_score.score,
        bleu_details=bleu_score.format(score_only=False).split("= ", 1)[1].split(" ", 1)[1],
        bleu_signature=str(bleu.get_signature()),
        chrf=chrf_score.score,
        chrf_signature=str(chrf.get_signature()),
    )


def bleu_metric(tokenize, argument="tokenize"):
    """sacreBLEU's metric with a tokenizer, for which it may need a package or a download.

    Args:
        tokenize: the name of the tokenizer.
        argument: what messages call it.

    Raises:
        ValueError: sacreBLEU knows no such tokenizer.
        ImportError: the tokenizer's package is not installed.
        OSError: the download failed.
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"{argument} must be one of {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}.")
    try:
        # "force" silences the warning about tokenized input, which "none" asks for.
        return BLEU(tokenize=tokenize, force=tokenize == "none")
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        language = tokenize.partition("-")[0]
        raise ImportError(f"{argument}={tokenize!r} needs pip install 'sacrebleu[{language}]': {reason}") from error
    except OSError as error:
        reason = f"a file that sacreBLEU downloads, and that failed: {error}"
        raise OSError(f"{argument}={tokenize!r} needs {reason}. Check the network, or take another one.") from error


def reference_streams(references, count, of):
    """References in sacreBLEU's layout: a list for the first reference of each translation, one for the second, ….

    Args:
        references: in one of the three forms that `evaluate` takes.
        count: how many translations there are.
        of: what there are `count` of, for messages.

    Raises:
        TypeError, ValueError: see `evaluate`.
    """
    check_iterable("references", references)
    references = list(references)
    has_lists = bool(references) and isinstance(references[0], list | tuple)
    if not has_lists:
        references = read_sentences("references", references)
    lists = [_read_references(number, entry) for number, entry in enumerate(references)] if has_lists else []
    is_by_stream = has_lists and all(len(entry) == count for entry in lists)
    if is_by_stream and len(lists) == count > 1:
        raise ValueError(
            f"references has {count} lists of {count} strings for {count} {of}: a list may hold the references of one "
            "translation, or one reference of each. Add None (no reference) to the first list to mean those of one "
            f"translation, or add a list of {count} None to mean one reference of each."
        )
    if is_by_stream:
        streams = lists
    elif len(references) != count or not references:
        raise ValueError(
            f"{of} and references must have the same length, at least 1; got {count} and {len(references)}."
        )
    else:
        streams = [list(stream) for stream in zip_longest(*lists)] if has_lists else [references]
    for number, row in enumerate(zip(*streams, strict=True)):
        if all(reference is None for reference in row):
            raise ValueError(f"references has none for number {number} of the {of}.")
    return streams


def _read_references(number, entry):
    """One of several lists of references, whose items are strings or None."""
    if not isinstance(entry, list | tuple):
        raise TypeError(f"references[{number}] must be a list of strings as those before it, got {shown(entry)}.")
    for place, reference in enumerate(entry):
        if reference is not None and not isinstance(reference, str):
            raise TypeError(f"references[{number}][{place}] must be a string, got {shown(reference)}.")
    return list(entry)
