"""A tree as a sequence of tokens, whose closing brackets have labels (Vinyals et al. 2015)."""

from keras_transformer.inputs.numbers import switch
from keras_transformer.parsing.cleaning import clean_tree
from keras_transformer.parsing.nodes import TAG, is_word


def to_tokens(tree, keep_tags: bool = False) -> list[str]:
    """Write a tree as a sequence of tokens, without its words: "(S", "(NP", "XX", ")NP", …, ")S".

    This is how "Attention Is All You Need" and Vinyals et al. ("Grammar as a Foreign Language", 2015) write trees.
    There is a token for each opening bracket with its label, for each closing bracket with its label, and for each
    word. `to_tree` puts the words back.

    Example:
        ```python
        import nltk
        from keras_transformer.parsing import to_tokens

        tree = nltk.Tree.fromstring("(S (NP (DT the) (NNS mice)) (VP (VBP run)))")
        print(" ".join(to_tokens(tree)))
        assert to_tokens(tree, keep_tags=True)[2:4] == ["DT", "NNS"]
        ```

    Args:
        tree: an `nltk.Tree`. It is cleaned first, see `clean_tree`.
        keep_tags: whether a word's token is its part-of-speech tag. Otherwise it is "XX" for each word.

    Raises:
        TypeError, ValueError: as in `clean_tree`, or `keep_tags` is not True or False.
    """
    keep_tags, tokens = switch("keep_tags", keep_tags), []
    _write(clean_tree(tree), keep_tags, tokens)
    return tokens


def _write(node, keep_tags, tokens):
    """Append the tokens of a node to a list."""
    if is_word(node):
        tokens.append(node.label() if keep_tags else TAG)
        return
    tokens.append(f"({node.label()}")
    for child in node:
        _write(child, keep_tags, tokens)
    tokens.append(f"){node.label()}")
