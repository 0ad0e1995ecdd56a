"""BLEU and chrF of translations, by sacreBLEU alone."""

from dataclasses import dataclass

from sacrebleu.metrics import BLEU, CHRF


@dataclass(frozen=True)
class Scores:
    """Corpus scores with what is needed to compare them: sacreBLEU's signatures."""

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
    """Score translations against one reference each.

    Args:
        translations: strings, any iterable of them.
        references: as many.
        tokenize: sacreBLEU's tokenizer: "13a" for running text, "none" for text that is tokenised
            already, as the published Multi30k scores are.

    Raises:
        TypeError: one string.
        ValueError: lists of different or no length, or a tokenizer that sacreBLEU does not know.
    """
    for name, given in (("translations", translations), ("references", references)):
        if isinstance(given, str):
            raise TypeError(f"{name} must be a list of strings, got one string: write [{given[:60]!r}].")
    translations, references = list(translations), list(references)
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"tokenize must be one of {', '.join(BLEU.TOKENIZERS)}, got {tokenize!r}.")
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"translations and references must be of one length, at least 1; got {len(translations)} "
            f"and {len(references)}."
        )
    # "force" silences sacreBLEU's advice on tokenised input, which "none" asks for.
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
