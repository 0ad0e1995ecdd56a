"""BLEU as "Attention Is All You Need" counts it: on Moses tokens, with compounds split at their hyphens."""

import re

from keras_transformer.inputs.kinds import Texts, read_sentences

COMPOUND = re.compile(r"(\S)-(\S)")


def paper_tokens(texts: Texts, language: str = "de") -> list[str]:
    """Cut texts into the tokens of which the paper's BLEU counts n-grams, separated by spaces.

    These are the steps of tensor2tensor's `get_ende_bleu.sh`. Moses' `replace-unicode-punctuation.perl` writes “ and ”
    as ", ’ as ', … as three dots, and full-width signs as plain ones. Moses' `tokenizer.perl` makes tokens, and writes
    & as `&amp;`. Then each hyphen between two characters becomes a token of its own, `##AT##-##AT##`. This needs the
    extra `moses`.

    The script does not replace punctuation in its file of references, which had none left to replace. Here both sides
    go through all steps.

    Example:
        ```python
        from keras_transformer.evaluate import paper_tokens

        assert paper_tokens(["Ein Rich-Text-Format."]) == ["Ein Rich ##AT##-##AT## Text ##AT##-##AT## Format ."]
        ```

    Args:
        texts: an iterable of strings, running text.
        language: the code of the language, whose abbreviations Moses knows: "de", "fr", "en", ….

    Returns:
        As many strings.

    Raises:
        ImportError: sacremoses is not installed.
        TypeError: `texts` is no list of strings.
        ValueError: Moses does not know the language, or `texts` holds names of files.
    """
    texts = read_sentences("texts", texts)
    cut = moses_cutter(language)
    return [COMPOUND.sub(r"\1 ##AT##-##AT## \2", cut(text)) for text in texts]


def moses_cutter(language):
    """A function from a text to its Moses tokens, separated by spaces, with plain punctuation.

    Raises:
        ImportError, ValueError: see `paper_tokens`.
    """
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
        from sacremoses.corpus import NonbreakingPrefixes
    except ImportError as error:
        raise ImportError(
            "paper_bleu and paper_tokens need sacremoses: pip install 'keras-transformer-translation[moses]'. "
            f"Python says: {error}"
        ) from error
    known = sorted(set(NonbreakingPrefixes().available_langs.values()))
    if language not in known:
        raise ValueError(f"language must be a language of Moses, one of {', '.join(known)}; got {language!r}.")
    tokenizer, plain = MosesTokenizer(language), MosesPunctNormalizer(language).replace_unicode_punct
    return lambda text: tokenizer.tokenize(plain(text), return_str=True)
