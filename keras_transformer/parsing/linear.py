"""A tree as a sequence of tokens, whose closing brackets have labels (Vinyals et al. 2015)."""

from keras_transformer.parsing.cleaning import clean_tree
from keras_transformer.parsing.nodes import TAG, is_word
from keras_transformer.parsing.words import escaped, plain

LEAVES = ("places", "tags", "words")


def to_tokens(tree, leaves: str = "places") -> list[str]:
    """Write a tree as a sequence of tokens: "(S", "(NP", "XX", ")NP", …, ")S".

    This is how "Attention Is All You Need" and Vinyals et al. ("Grammar as a Foreign Language", 2015) write trees.
    There is a token for each opening bracket with its label, for each closing bracket with its label, and for each
    word. `to_tree` puts the words back.

    Example:
        ```python
        import nltk
        from keras_transformer.parsing import to_tokens

        tree = nltk.Tree.fromstring("(S (NP (DT the) (NNS mice)) (VP (VBP run)))")
        print(" ".join(to_tokens(tree)))
        assert to_tokens(tree, leaves="tags")[2:4] == ["DT", "NNS"]
        ```

    Args:
        tree: an `nltk.Tree`. It is cleaned first, see `clean_tree`.
        leaves: what stands for a word. "places" is "XX" for each word, as in the paper. "tags" is its part-of-speech
            tag. "words" is the word itself, with brackets by name: `-LRB-` is "(".

    Raises:
        TypeError, ValueError: as in `clean_tree`, or `leaves` is none of the three.
    """
    tokens = []
    _write(clean_tree(tree), checked_leaves(leaves), tokens)
    return tokens


def checked_leaves(leaves):
    """Raise ValueError if `leaves` is none of `LEAVES`."""
    if leaves not in LEAVES:
        raise ValueError(f"leaves must be one of {LEAVES}, got {leaves!r}.")
    return leaves


def _write(node, leaves, tokens):
    """Append the tokens of a node to a list."""
    if is_word(node):
        tokens.append({"places": TAG, "tags": node.label(), "words": escaped(plain(node[0]))}[leaves])
        return
    tokens.append(f"({node.label()}")
    for child in node:
        _write(child, leaves, tokens)
    tokens.append(f"){node.label()}")
