"""A clean tree becomes tokens and comes back exactly, and any tokens at all become a tree over the words."""

import random

import nltk
import pytest

from keras_transformer.parsing import ParsedTree, clean_tree, evaluate_trees, to_tokens, to_tree
from keras_transformer.parsing.nodes import TAG, tagged_words

AWKWARD = [
    "(S (NP (DT the) (NNS mice)) (VP (VBP run)) (. .))",
    "(TOP (NN yes))",
    "(TOP (S (NN a)) (S (NN b)) (. .))",
    "(NP (NP (NP (NN a))))",
    "(S (S (S (NN a)) (S (NN b))) (S (S (S (NN c)))))",
    "(NP (NN BMP) (PRN (-LRB- -LRB-) (NN Ca-LRB-2+-RRB-) (-RRB- ])))",
    "(X (: --) (`` ``) ('' '') (, ,) (. ?) (# #) ($ $) (PRP$ its) (-X x) (=Y y))",
    "(S (XX a) (NP (XX b)))",
    "(S (NP (NN caf\u00e9\u00a0au\u2028lait)))",
    "(S " + "(S (NN a) " * 198 + ")" * 198 + ")",
]


def one_line(tree):
    return tree.pformat(margin=10**6)


def read(text):
    """nltk would end a word at a no-break space."""
    return nltk.Tree.fromstring(text, leaf_pattern=r"[^() ]+")


def without_tags(tree):
    tree = tree.copy(deep=True)
    for node in tagged_words(tree):
        node.set_label(TAG)
    return tree


@pytest.mark.parametrize("text", AWKWARD)
def test_a_tree_comes_back_from_its_tokens(text):
    tree = clean_tree(read(text))
    assert one_line(tree) == text.replace(" )", ")")  # these are clean already
    assert to_tree(to_tokens(tree, leaves="tags"), tree.leaves()) == ParsedTree(tree, {})
    parsed = to_tree(" ".join(to_tokens(tree)), tree.leaves())
    assert parsed == ParsedTree(without_tags(tree), {}) and not parsed.is_repaired


def test_the_tokens_are_those_of_vinyals():
    tree = nltk.Tree.fromstring("( (S (NP-SBJ (NNP John)) (VP (VBZ has) (NP (DT a) (NN dog))) (. .)))")
    assert " ".join(to_tokens(tree)) == "(S (NP XX )NP (VP XX (NP XX XX )NP )VP XX )S"
    assert " ".join(to_tokens(tree, leaves="tags")) == "(S (NP NNP )NP (VP VBZ (NP DT NN )NP )VP . )S"


@pytest.mark.parametrize(
    ("tokens", "words", "tree", "repairs"),
    [
        ("(S XX )S", "a", "(S (XX a))", {}),
        ("(S XX )S )S", "a", "(S (XX a))", {"surplus closer": 1}),
        (")NP (S XX )S )VP", "a", "(S (XX a))", {"surplus closer": 2}),
        ("(S (NP XX )VP XX )S", "a b", "(S (NP (XX a)) (XX b))", {"wrong closer": 1}),
        ("(S (NP XX (VP XX )S", "a b", "(S (NP (XX a) (VP (XX b))))", {"missing closer": 2}),
        ("(S (S (NP XX )S XX )S", "a b", "(S (S (NP (XX a))) (XX b))", {"missing closer": 1}),
        ("(S (NP XX", "a", "(S (NP (XX a)))", {"missing closer": 2}),
        ("(S (NP )NP XX (VP (PP )PP )VP )S", "a", "(S (XX a))", {"empty bracket": 3}),
        ("(S XX XX XX )S", "a", "(S (XX a))", {"surplus word": 2}),
        ("(S (NP XX )NP )S", "a b c", "(S (NP (XX a)) (XX b) (XX c))", {"missing word": 2}),
        ("(S XX )S (S XX )S", "a b", "(TOP (S (XX a)) (S (XX b)))", {"missing root": 1}),
        ("(S XX )S XX", "a b", "(TOP (S (XX a)) (XX b))", {"missing root": 1}),
        ("XX XX", "a b", "(TOP (XX a) (XX b))", {"missing root": 1}),
        ("XX", "a b", "(TOP (XX a) (XX b))", {"missing root": 1, "missing word": 1}),
        ("", "a b", "(TOP (XX a) (XX b))", {"missing word": 2}),
        ("(S )S", "a", "(TOP (XX a))", {"empty bracket": 1, "missing word": 1}),
        ("( ) (S (( )) (N(P XX (S) )S", "a", "(S (XX a))", {"broken token": 6}),
        ("(S DT NN ⁇ )S", "a b c", "(S (DT a) (NN b) (⁇ c))", {}),
        ("(TOP (S XX )S )TOP", "a", "(TOP (S (XX a)))", {}),
        (
            "(S " * 201 + "XX" + " )S" * 201,
            "a",
            "(S " * 199 + "(XX a)" + ")" * 199,
            {"surplus closer": 2, "too deep": 2},
        ),
    ],
)
def test_each_rule_of_repair(tokens, words, tree, repairs):
    parsed = to_tree(tokens.split(), words.split())
    assert (one_line(parsed.tree), parsed.repairs) == (tree, repairs)
    assert parsed.is_repaired == bool(repairs)


RIGHT = ["(S", "(NP", "(VP", ")S", ")NP", ")VP", "XX", "XX", "XX"]
WRONG = [*RIGHT, "NN", "(", ")", "((", "a)b", "⁇", "", " ", "(TOP", ")TOP"]


def test_any_tokens_become_a_tree_over_the_words():
    luck, unbroken = random.Random(0), 0
    for number in range(600):
        tokens = luck.choices(WRONG if number % 2 else RIGHT, k=luck.randrange(12) * luck.choice([1, 1, 4, 40]))
        words = [luck.choice(["a", "(", "x)y", "-LRB-", "[", "\u00a0"]) for _ in range(luck.randrange(1, 9))]
        parsed = to_tree(tokens, words)
        assert parsed.tree.leaves() == [word.replace("(", "-LRB-").replace(")", "-RRB-") for word in words]
        assert all(len(node) and node.label() for node in parsed.tree.subtrees())
        assert all(count > 0 for count in parsed.repairs.values())
        # What was made is a tree and needs no repair.
        assert to_tree(written(parsed.tree), words) == ParsedTree(parsed.tree, {})
        if not parsed.is_repaired:
            assert written(parsed.tree) == tokens
            unbroken += 1
    assert 0 < unbroken < 600


def written(node):
    """The tokens of a tree that need not be clean."""
    if isinstance(node[0], str):
        return [node.label()]
    inside = [token for child in node for token in written(child)]
    return [f"({node.label()}", *inside, f"){node.label()}"]


def test_a_root_above_the_deepest_tree_can_be_scored():
    parsed = to_tree("XX " + "(S " * 250 + "XX", ["a", "b"])
    assert parsed.tree.height() == 202 and evaluate_trees([parsed.tree], [parsed.tree]).every.f1 == 100
    assert to_tree("(NP\u00a0x X\u2028X\n)NP\u00a0x", ["a"]).repairs == {}  # only ASCII's white space ends a token


@pytest.mark.parametrize(
    ("tokens", "words", "kind", "message"),
    [
        ("(S XX )S", [], ValueError, r"words is empty\. A tree needs at least one word\.$"),
        ("(S XX )S", ["a", "b c"], ValueError, r"words\[1\]='b c' must be one word, without white space\.$"),
        ("(S XX )S", [""], ValueError, r"words\[0\]='' must be one word"),
        ("(S XX )S", "the cat", TypeError, r"words must be a list of strings, got one string: write \['the cat'\]\.$"),
        (["(S", 3], ["a"], TypeError, r"tokens\[1\] must be a string, got 3 \(int\)\.$"),
        (None, ["a"], TypeError, r"tokens must be a list of strings, got None \(NoneType\)\.$"),
    ],
)
def test_what_is_no_sentence_is_refused(tokens, words, kind, message):
    with pytest.raises(kind, match=message):
        to_tree(tokens, words)


def test_leaves_are_places_tags_or_words():
    tree = read("(S (NP (NN BMP) (-LRB- -LRB-) (NN Ca-LRB-2+-RRB-)) (VP (VBZ is) (JJ [x])))")
    words = ["BMP", "-LRB-", "Ca-LRB-2+-RRB-", "is", "[x]"]
    brackets = "(S (NP {} {} {} )NP (VP {} {} )VP )S"
    assert " ".join(to_tokens(tree)) == brackets.format(*["XX"] * 5)
    assert " ".join(to_tokens(tree, "tags")) == brackets.format("NN", "-LRB-", "NN", "VBZ", "JJ")
    assert " ".join(to_tokens(tree, "words")) == brackets.format(*words)
    with pytest.raises(ValueError, match=r"leaves must be one of \('places', 'tags', 'words'\), got 'yes'\."):
        to_tokens(tree, "yes")
    with pytest.raises(ValueError, match="leaves must be one of"):
        to_tree("(S XX )S", ["a"], leaves="no")


def test_words_in_the_tokens_are_compared_with_those_of_the_sentence():
    parsed = to_tree("(S (NP the rat )NP (VP runs )VP )S", ["the", "cat", "runs"], leaves="words")
    assert one_line(parsed.tree) == "(S (NP (XX the) (XX cat)) (VP (XX runs)))" and parsed.repairs == {"other word": 1}
    assert to_tree("(S Ca-LRB-2+-RRB- )S", ["Ca(2+)"], leaves="words").repairs == {}
