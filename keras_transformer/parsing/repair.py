"""Any sequence of tokens becomes a tree over the given words."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from keras_transformer.inputs.kinds import Texts, read_texts
from keras_transformer.parsing.linear import checked_leaves
from keras_transformer.parsing.nodes import DEEPEST, TAG, TOP, is_one_word, pieces, tree_class
from keras_transformer.parsing.words import escaped, read_words


@dataclass(frozen=True)
class ParsedTree:
    """A tree that `to_tree` made, and what had to be repaired.

    Attributes:
        tree: an `nltk.Tree` over exactly the given words.
        repairs: {rule: how often it was needed}. The rules are those of `to_tree`. It is empty for tokens that
            `to_tokens` wrote.
    """

    tree: Any
    repairs: dict[str, int]

    @property
    def is_repaired(self) -> bool:
        """Whether the tokens were no tree over these words."""
        return bool(self.repairs)


def to_tree(tokens: str | Texts, words: Texts, leaves: str = "places") -> ParsedTree:
    """Make a tree of tokens, and put the words back. Tokens that are no tree over these words are repaired.

    The tokens are read from left to right. A token is an opening bracket "(NP", a closing bracket ")NP", or the place
    of a word. These rules repair what is wrong. The names are those in `ParsedTree.repairs`:

    - "broken token": a bracket without a label, or a token with a bracket inside or with white space, is dropped.
    - "too deep": an opening bracket inside 199 others is dropped.
    - "surplus word": a place of a word for which no word is left is dropped.
    - "other word": with `leaves="words"`, a word that is not the one of the sentence gives its place to that one.
    - "surplus closer": a closing bracket is dropped if nothing is open.
    - "wrong closer": a closing bracket whose label no open bracket has closes the innermost one.
    - "missing closer": a closing bracket of a label further out first closes the brackets inside. At the end, all open
      brackets are closed. This counts each bracket.
    - "empty bracket": a bracket without a word is dropped.
    - "missing root": what has no bracket around it, or several brackets side by side, gets a root TOP.
    - "missing word": words without a place follow at the end of the root, with the tag XX. This counts each word. If
      there are no tokens at all, they are the children of a root TOP.

    So every word is in the tree, once and in order. "(" and ")" in words become `-LRB-` and `-RRB-`, as in the Penn
    Treebank.

    Example:
        ```python
        from keras_transformer.parsing import to_tree

        parsed = to_tree("(S (NP XX )NP (VP XX )VP )S", ["mice", "run"])
        assert str(parsed.tree) == "(S (NP (XX mice)) (VP (XX run)))" and not parsed.is_repaired
        parsed = to_tree("(S (NP XX (VP", ["mice", "run"])
        assert str(parsed.tree) == "(S (NP (XX mice)) (XX run))"
        assert parsed.repairs == {"empty bracket": 1, "missing closer": 3, "missing word": 1}
        ```

    Args:
        tokens: a list of strings, or one string with spaces between the tokens.
        words: a list of strings, the words of the sentence.
        leaves: what stands for a word in the tokens, see `to_tokens`. With "words", words get the tag XX.

    Raises:
        TypeError: `tokens` or `words` is something else.
        ValueError: there are no words, or a word is empty or has white space; or `leaves` is unknown.
    """
    tokens = pieces(tokens) if isinstance(tokens, str) else read_texts("tokens", tokens)
    words = [escaped(word) for word in read_words("words", words)]
    builder = _Builder(words, checked_leaves(leaves) == "words")
    for token in tokens:
        builder.add(token)
    return ParsedTree(builder.finish(), dict(sorted((+builder.repairs).items())))


class _Builder:
    """A tree that grows token by token.

    Attributes:
        open: the nodes that are not closed, the innermost last. The first is not of the tree: it holds the roots.
        words: an iterator over the words that have no place yet.
        copies: whether the tokens have the words themselves.
        repairs: {rule: how often it was needed}.
    """

    def __init__(self, words, copies):
        self.Tree = tree_class()
        self.open = [self.Tree(TOP, [])]
        self.words, self.copies = iter(words), copies
        self.repairs = Counter()

    def add(self, token):
        label = token[1:] if token[:1] in ("(", ")") else token
        if not is_one_word(label) or any(sign in label for sign in "()"):
            self.repairs["broken token"] += 1
        elif token[0] == "(":
            self._add_opener(label)
        elif token[0] == ")":
            self._add_closer(label)
        elif (word := next(self.words, None)) is None:
            self.repairs["surplus word"] += 1
        else:
            self.repairs["other word"] += self.copies and label != word
            self.open[-1].append(self.Tree(TAG if self.copies else label, [word]))

    def _add_opener(self, label):
        if len(self.open) >= DEEPEST:  # with the tag of a word inside, this is one more than the open brackets
            self.repairs["too deep"] += 1
        else:
            self.open.append(self.Tree(label, []))

    def _add_closer(self, label):
        if len(self.open) == 1:
            self.repairs["surplus closer"] += 1
            return
        labels = [node.label() for node in self.open[1:]]
        if label in labels:
            while self.open[-1].label() != label:
                self.repairs["missing closer"] += 1
                self._close()
        else:
            self.repairs["wrong closer"] += 1
        self._close()

    def _close(self):
        """Close the innermost bracket."""
        node = self.open.pop()
        if len(node):
            self.open[-1].append(node)
        else:
            self.repairs["empty bracket"] += 1

    def finish(self):
        """The tree."""
        while len(self.open) > 1:
            self.repairs["missing closer"] += 1
            self._close()
        (root,) = self.open
        if len(root) == 1 and isinstance(root[0][0], self.Tree):
            root = root[0]
        elif len(root):
            self.repairs["missing root"] += 1
        missing = [self.Tree(TAG, [word]) for word in self.words]
        if missing:
            self.repairs["missing word"] += len(missing)
            root.extend(missing)
        return root
