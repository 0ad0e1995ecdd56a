"""BLEU and chrF of translations, computed by sacreBLEU."""

from dataclasses import dataclass

from sacrebleu.metrics import BLEU, CHRF


@dataclass(frozen=True)
class Scores:
    """BLEU and chrF of a corpus, from 0 to 100, with sacreBLEU's signatures, which make them comparable."""

    bleu: float
    bleu_details: str  # n-gram precisions, brevity penalty, lengths
    bleu_signature: str
    chrf: float
    chrf_signature: str

    def __str__(self):
        return (
            f"BLEU {self.bleu:.2f}  {self.bleu_details}\n  {self.bleu_signature}\n"
            f"chrF {self.chrf:.2f}\n  {self.chrf_signature}"
        )


def evaluate(translations, references, tokenize="13a"):
    """Score translations with BLEU and chrF against one reference each.

    Example:
        ```python
        from keras_transformer.evaluate import evaluate

        scores = evaluate(["the cat sat on a mat"], ["the cat sat on the mat"])
        print(scores)
        assert 0 < scores.bleu < 100
        ```

    Args:
        translations: an iterable of strings.
        references: an iterable of as many strings.
        tokenize: the name of sacreBLEU's tokenizer. "13a" is for running text. "none" is for text that is already
            tokenized, as for the published scores of Multi30k.

    Returns:
        `Scores`.

    Raises:
        TypeError: `translations` or `references` is one string.
        ValueError: the lists are empty or differ in length, or sacreBLEU does not know the tokenizer.
    """
    for name, given in (("translations", translations), ("references", references)):
        if isinstance(given, str):
            raise TypeError(f"{name} must be a list of strings, got one string: write [{given[:60]!r}].")
    translations, references = list(translations), list(references)
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"tokenize must be one of {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}.")
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"translations and references must have the same length, at least 1; got {len(translations)} "
            f"and {len(references)}."
        )
    # "force" silences sacreBLEU's warning about tokenized input, which "none" asks for.
    bleu, chrf = BLEU(tokenize=tokenize, force=tokenize == "none"), CHRF()
    bleu_score = bleu.corpus_score(translations, [references])
    chrf_score = chrf.corpus_score(translations, [references])
    return Scores(
        bleu=bleu_score.score,
        bleu_details=bleu_score.format(score_only=False).split("= ", 1)[1].split(" ", 1)[1],
        bleu_signature=str(bleu.get_signature()),
        chrf=chrf_score.score,
        chrf_signature=str(chrf.get_signature()),
    )
