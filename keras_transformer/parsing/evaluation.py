"""Labeled F1 by the rules of EVALB (Sekine and Collins) with the parameters COLLINS.prm."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import NamedTuple

from keras_transformer.inputs.kinds import check_iterable
from keras_transformer.inputs.numbers import whole
from keras_transformer.parsing.cleaning import ROOTS
from keras_transformer.parsing.nodes import NO_ELEMENT, TAG, TOP, check_tree, is_word, tagged_words, tree_class
from keras_transformer.parsing.scores import BracketScores, TreeScores
from keras_transformer.parsing.words import plain

NOT_COUNTED = {TOP, NO_ELEMENT, ",", ":", "``", "''", "."}
SAME = {"PRT": "ADVP"}  # these two labels are one
_FUNCTION_TAGS = re.compile("[-=]")


class _Brackets(NamedTuple):
    """What counts of a tree.

    Attributes:
        words: list of (word, tag).
        spans: list of (label, first word, word after the last).
    """

    words: list
    spans: list


def evaluate_trees(hypotheses: Iterable, references: Iterable, limit: int = 40) -> TreeScores:
    """Score trees as EVALB does with COLLINS.prm: labeled F1, complete match, crossing brackets, tagging accuracy.

    These are its rules:

    - A bracket is right if the reference has one of the same label over the same words. Labels end before their first
      "-" or "=". ADVP and PRT are one label.
    - Brackets labeled TOP do not count, nor do tags of words.
    - Punctuation is left out: words with one of the tags `,`, `:`, `.`, `''`, two back-quotes, and `-NONE-`. So are
      brackets over no other words. Each tree's own tags decide.
    - A sentence whose two trees then have different words is an error. It counts in no other figure. One whose
      hypothesis has no words left is skipped.
    - A sentence is short if its reference has at most `limit` words. Punctuation counts here, as in COLLINS.prm.

    Four things differ from the program:

    - A word tagged "XX" in the hypothesis has no tag: it takes the reference's, and does not count in the tagging
      accuracy. EVALB would keep its punctuation, and count an error.
    - A root without a label, or named ROOT, S1 or VROOT, is a TOP. EVALB counts it as a bracket that is always right.
    - Words are compared without the escapes of the Penn Treebank: `-LRB-` is "(".
    - Errors never stop the evaluation, no sentence is too long, and F1 without any right bracket is 0.

    Example:
        ```python
        import nltk
        from keras_transformer.parsing import evaluate_trees

        reference = nltk.Tree.fromstring("(S (NP (NNS mice)) (VP (VBP run) (ADVP (RB fast))) (. .))")
        hypothesis = nltk.Tree.fromstring("(S (NP (NNS mice)) (VP (VBP run)) (ADVP (RB fast)) (. .))")
        scores = evaluate_trees([hypothesis], [reference])
        print(scores)
        assert scores.every.matched == 3 and scores.every.f1 == 75
        ```

    Args:
        hypotheses: an iterable of `nltk.Tree`.
        references: an iterable of as many `nltk.Tree`.
        limit: int, the most words of a short sentence.

    Returns:
        `TreeScores`.

    Raises:
        TypeError: an item is no tree. The message has its place, from 0.
        ValueError: a word has no tag of its own, as in `(NP the cat)`; the numbers of trees differ or are 0, or `limit`
            is no whole number above 0.
    """
    hypotheses, references = _trees("hypotheses", hypotheses), _trees("references", references)
    limit = whole("limit", limit)
    if len(hypotheses) != len(references):
        raise ValueError(
            f"hypotheses and references must be equally many, got {len(hypotheses)} and {len(references)}."
        )
    if not references:
        raise ValueError("hypotheses and references are empty. There is nothing to score.")
    every, short, error_places = Counter(), Counter(), []
    for number, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        counts = _score(hypothesis, reference)
        error_places += [number] if counts["errors"] else []
        every.update(counts)
        if sum(node.label() != NO_ELEMENT for node in tagged_words(reference)) <= limit:
            short.update(counts)
    return TreeScores(BracketScores(**every), BracketScores(**short), limit, tuple(error_places))


def _trees(name, trees):
    if isinstance(trees, tree_class()):
        raise TypeError(f"{name} must be a list of trees, got one tree. Write [tree].")
    check_iterable(name, trees, "a list of nltk.Tree")
    trees = list(trees)
    for number, tree in enumerate(trees):
        check_tree(f"{name}[{number}]", tree)
        for node in tree.subtrees():
            if any(isinstance(child, str) for child in node) and len(node) > 1:
                raise ValueError(f"{name}[{number}] has words without a tag of their own: {str(node)[:60]!r}.")
    return trees


def _score(hypothesis, reference):
    """The counts of one sentence: {field of `BracketScores`: int}."""
    counts = dict.fromkeys(asdict(BracketScores()), 0) | {"sentences": 1}
    reference_tags = [node.label() for node in tagged_words(reference)]
    tags = [node.label() for node in tagged_words(hypothesis)]
    given = [tag != TAG for tag in tags]
    if len(tags) == len(reference_tags):
        tags = [own if is_given else other for own, is_given, other in zip(tags, given, reference_tags, strict=True)]
    ours, theirs = _brackets(hypothesis, tags), _brackets(reference, reference_tags)
    if not ours.words:
        return counts | {"skipped": 1}
    if [word for word, _ in ours.words] != [word for word, _ in theirs.words]:
        return counts | {"errors": 1}
    matched = (Counter(ours.spans) & Counter(theirs.spans)).total()
    crossings = sum(any(_cross(span, other) for other in theirs.spans) for span in ours.spans)
    kept = [is_given for is_given, tag in zip(given, tags, strict=True) if tag not in NOT_COUNTED]
    right = [own == other for (_, own), (_, other) in zip(ours.words, theirs.words, strict=True)]
    return counts | {
        "matched": matched,
        "reference_brackets": len(theirs.spans),
        "hypothesis_brackets": len(ours.spans),
        "complete": int(matched == len(ours.spans) == len(theirs.spans)),
        "crossings": crossings,
        "uncrossed": int(crossings == 0),
        "little_crossed": int(crossings <= 2),
        "tagged_words": sum(kept),
        "right_tags": sum(is_given and is_right for is_given, is_right in zip(kept, right, strict=True)),
    }


def _cross(span, other):
    _, first, end = span
    _, other_first, other_end = other
    return other_first < first < other_end < end or first < other_first < end < other_end


def _brackets(tree, tags):
    """What counts of a tree whose words have these tags."""
    words, spans, tags = [], [], iter(tags)

    def walk(node, is_root):
        if is_word(node):
            if (tag := next(tags)) not in NOT_COUNTED:
                words.append((plain(node[0]), SAME.get(tag, tag)))
            return
        first = len(words)
        for child in node:
            walk(child, False)
        label = _FUNCTION_TAGS.split(node.label(), maxsplit=1)[0]
        if len(words) > first and label not in NOT_COUNTED and not (is_root and label in ROOTS):
            spans.append((SAME.get(label, label), first, len(words)))

    walk(tree, True)
    return _Brackets(words, spans)
