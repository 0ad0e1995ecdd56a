"""The constraint of trees: it allows each tree over the words that fits the limit, and nothing else."""

import functools
import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from scripted import Task, assert_is_ranked, run_beam, run_greedy, score, script, tokens_of

from keras_transformer.decoding import Rules
from keras_transformer.ids import END, NUM_RESERVED
from keras_transformer.parsing import TreeConstraint

pytestmark = pytest.mark.core

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]


def tokenizer(*pieces):
    """What the constraint asks of a tokenizer."""
    names = [*SPECIAL, *pieces]
    return SimpleNamespace(vocabulary_size=len(names), pieces=lambda ids: [names[i] for i in ids])


WORDS = tokenizer("▁a", "b", "▁", "<0x63>")
LABELS = ("A", "B")
TREES = tokenizer("▁(A", "▁XX", "▁)B", "▁)A", "▁(B", "▁NN")
PAIR = SimpleNamespace(source=WORDS, target=TREES)
IDS = {name.strip("▁"): i for i, name in enumerate(TREES.pieces(range(TREES.vocabulary_size)))}
LEAVES = [IDS["XX"], IDS["NN"]]


@functools.cache
def sequences(words, length, most_open):
    """All sequences of brackets and places over so many words, of at most `length` tokens: one or more of them."""
    found = set()
    for first in range(1, words + 1):
        heads = {(leaf,) for leaf in LEAVES} if first == 1 and length else set()
        heads |= trees(first, length, most_open)
        if first == words:
            found |= heads
        else:
            found |= {head + tail for head in heads for tail in sequences(words - first, length - len(head), most_open)}
    return found


@functools.cache
def trees(words, length, most_open):
    """All trees over so many words, of at most `length` tokens."""
    if length < words + 2 or most_open == 0:
        return set()
    inside = sequences(words, length - 2, most_open - 1)
    return {(IDS[f"({label}"], *middle, IDS[f"){label}"]) for label in LABELS for middle in inside}


def ids_of(words):
    """A source of so many words, closed by END; some words have two pieces."""
    pieces = [(4, 5) if word % 2 else (4,) for word in range(words)]
    return (*sum(pieces, ()), END)


ROWS = 2048  # more than the hypotheses of any length


def whole_outputs(constraint, source, limit):
    """What a walk through `allowed` finds, all hypotheses of a length at a time."""
    state = constraint.start(ops.convert_to_tensor(np.array([source], "int32")))
    bodies, found = [()], set()
    state = keras.tree.map_structure(lambda x: ops.repeat(x[:, None], ROWS, axis=0), state)
    for length in range(limit):
        remaining = ops.full((ROWS,), limit - length, "int32")
        allowed = ops.convert_to_numpy(constraint.allowed(state, remaining))[: len(bodies), 0]
        assert allowed.any(axis=-1).all(), "a hypothesis is stuck"
        rows, tokens = (x.astype("int32") for x in np.nonzero(allowed))
        found |= {(*bodies[row], END) for row, token in zip(rows, tokens, strict=True) if token == END}
        keep = tokens != END
        rows, tokens = rows[keep], tokens[keep]
        bodies = [(*bodies[row], int(token)) for row, token in zip(rows, tokens, strict=True)]
        if not bodies:
            break
        rows, tokens = (np.resize(x, ROWS) for x in (rows, tokens))  # JAX compiles for each shape
        state = keras.tree.map_structure(lambda x, rows=rows: ops.take(x, rows, axis=0), state)
        state = constraint.advance(state, ops.convert_to_tensor(tokens[:, None]))
    assert not bodies, "the limit cut a hypothesis off"
    return found


def opened_in_a_row(tree):
    """The most opening brackets one after another."""
    signs = "".join("(" if token in (IDS["(A"], IDS["(B"]) else " " for token in tree)
    return max(map(len, signs.split()))


@pytest.mark.parametrize(
    "words, limit, most_open, in_a_row",
    [(1, 9, 9, 9), (2, 9, 9, 9), (3, 9, 9, 9), (2, 9, 2, 9), (1, 11, 3, 9), (3, 6, 1, 9), (2, 9, 9, 2), (3, 9, 9, 1)],
)
def test_it_allows_each_tree_within_the_limits_and_nothing_else(words, limit, most_open, in_a_row):
    everything = trees(words, limit - 1, most_open)
    expected = {(*tree, END) for tree in everything if opened_in_a_row(tree) <= in_a_row}
    assert len(expected) >= 16 and (in_a_row == 9) == (len(expected) == len(everything))
    assert whole_outputs(TreeConstraint(PAIR, most_open, in_a_row), ids_of(words), limit) == expected


def test_the_beam_is_the_exhaustive_search_over_all_trees():
    table = script(4, batch=3, size=TREES.vocabulary_size)
    tasks = [Task(7, source=ids_of(2)), Task(6, source=ids_of(1)), Task(5, source=ids_of(2))]
    found = run_beam(table, tasks, beam_size=64, num_results=64, rules=Rules(constraint=TreeConstraint(PAIR)))
    for row, (task, words) in enumerate(zip(tasks, (2, 1, 2), strict=True)):
        outputs = {(*tree, END) for tree in trees(words, task.limit - 1, 9)}
        assert_is_ranked(found, row, sorted(((score(table[row], tokens), tokens) for tokens in outputs), reverse=True))


@pytest.mark.parametrize("width", [1, 3])
def test_each_output_is_a_tree_with_the_words_of_its_sentence(width):
    rules, limits = Rules(constraint=TreeConstraint(PAIR)), (9, 11, 13, 7)
    tasks = [Task(limit, source=ids_of(n)) for n, limit in enumerate(limits, start=1)]
    table = script(7, end_bias=3.0, batch=4, size=TREES.vocabulary_size)
    found = run_greedy(table, tasks, rules=rules) if width == 1 else run_beam(table, tasks, beam_size=3, rules=rules)
    assert found.finished[:, 0].all()
    for words, (ids, limit) in enumerate(zip(found.ids[:, 0], limits, strict=True), start=1):
        body, end = tokens_of(ids)[:-1], tokens_of(ids)[-1]
        assert end == END and body in trees(words, limit - 1, 99)


@pytest.mark.parametrize(
    "pieces, words",
    [
        ((4, 3), 1),
        ((4, 5, 7, 4, 3, 0), 2),
        ((6, 5, 5, 6, 4, 3), 2),  # a space alone begins no word, but what follows it does
        ((5, 4, 3), 2),
        ((6, 1, 1, 4, 3), 2),  # UNK is text
        ((6, 6, 3), 0),
        ((3,), 0),
    ],
)
def test_words_are_counted_as_the_spaces_of_the_text_part_them(pieces, words):
    names = WORDS.pieces(pieces)
    text = "".join(name for name in names if name not in ("<pad>", "</s>")).replace("▁", " ")
    assert len(text.split()) == words
    count = TreeConstraint(PAIR).words.count_words(ops.convert_to_tensor(np.array([pieces], "int32")))
    assert ops.convert_to_numpy(count).tolist() == [words]


ONE = tokenizer("▁(A", "▁a", "▁)A", "b", "▁c")  # of words and brackets


@pytest.mark.parametrize("source", [(5,), (5, 7), (5, 7, 8), (8, 5, 7, 7), (8, 8, 8)])
def test_with_one_tokenizer_the_words_are_copied(source):
    """Brackets stand between words only. So these are the trees over as many words, with the words' pieces in place."""
    words = []
    for piece in source:
        words = [*words, (piece,)] if piece != 7 else [*words[:-1], (*words[-1], piece)]
    limit, places = len(source) + 7, {IDS["(A"]: (4,), IDS[")A"]: (6,)}
    expected = set()
    for tree in trees(len(words), limit - 1 - len(source) + len(words), 9):
        if not {IDS["(B"], IDS["NN"]} & set(tree):  # with one label, and one kind of place
            left = iter(words)
            expected.add((*(piece for token in tree for piece in places.get(token) or next(left)), END))
    assert len(expected) >= 3
    assert whole_outputs(TreeConstraint(ONE), (*source, END), limit) == expected


def test_a_sentence_without_words_has_no_tree():
    assert whole_outputs(TreeConstraint(PAIR), ids_of(0), 9) == {(END,)}


@pytest.mark.parametrize(
    "source, target, message",
    [
        (WORDS, ("▁(A", "▁)A", "▁X", "X"), "the piece 'X', which is no token of a tree"),
        (WORDS, ("▁(A", "▁)A", "▁X", "▁("), "the piece '▁(', which is no token"),
        (WORDS, ("▁(A", "▁X"), "lacks ')A'"),
        (WORDS, ("▁(A", "▁)A"), "no place of a word"),
        (WORDS, ("▁X",), "no bracket"),
        (tokenizer("a", "##b"), ("▁(A", "▁)A", "▁X"), "no piece that begins with a space"),
        (tokenizer("▁a", "▁a▁b"), ("▁(A", "▁)A", "▁X"), "the piece '▁a▁b'"),
    ],
)
def test_other_tokenizers_are_refused(source, target, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TreeConstraint(SimpleNamespace(source=source, target=tokenizer(*target)))


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="tokenizer must be a TokenizerPair or a Tokenizer, got str"):
        TreeConstraint("runs/parser")
    with pytest.raises(ValueError, match="most_open=200 must be at most 199"):
        TreeConstraint(PAIR, most_open=200)
    assert len(SPECIAL) == NUM_RESERVED and repr(TreeConstraint(PAIR, 7)) == "TreeConstraint(2 labels, most_open=7)"
