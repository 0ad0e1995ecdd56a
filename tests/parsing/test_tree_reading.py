"""Files of trees are read and cleaned, and what is no tree is refused with its file and line."""

import ast
import gzip
import sys
from pathlib import Path

import nltk
import pytest

from keras_transformer import parsing
from keras_transformer.parsing import clean_tree, read_trees, words_of

PENN = """
( (S
    (NP-SBJ-1 (JJ Big) (NNS mice) )
    (, ,)
    (VP (VBD were)
      (VP (VBN seen)
        (NP (-NONE- *-1) )
        (PP-CLR|PP (-LRB- -LRB-) (IN by) (NP-LGS=2 (PRP$ my) (NN cat) ) (-RRB- -RRB-) )))
    (. .) ))
(FRAG (SBAR (WHNP-1 (-NONE- 0)) (S (NP (-NONE- *T*-1)))) (NP (NN fin)))
"""
CLEAN = [
    "(S (NP (JJ Big) (NNS mice)) (, ,) (VP (VBD were) (VP (VBN seen) (PP (-LRB- -LRB-) (IN by) "
    "(NP (PRP$ my) (NN cat)) (-RRB- -RRB-)))) (. .))",
    "(FRAG (NP (NN fin)))",
]


def one_line(tree):
    return tree.pformat(margin=10**6)


def written(folder, text, name="trees.mrg"):
    path = folder / name
    if isinstance(text, str):
        text = text.encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["trees.mrg", "trees.mrg.gz"])
def test_a_file_of_the_penn_treebank_is_read_and_cleaned(name, tmp_path):
    trees = read_trees(written(tmp_path, PENN, name))
    assert [one_line(tree) for tree in trees] == CLEAN
    assert words_of(trees[0])[4:6] == ["seen", "("]


def test_layout_makes_no_difference(tmp_path):
    one_a_line = "\n".join(CLEAN)
    windows = "\ufeff" + PENN.replace("\n", "\r\n")
    side_by_side = " ".join(CLEAN)
    for number, text in enumerate([one_a_line, windows, side_by_side, f"\n\n{one_a_line}\n\n"]):
        assert [one_line(tree) for tree in read_trees(written(tmp_path, text, f"{number}.mrg"))] == CLEAN


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        *[
            (f"({root} (S (NN a) (NP (NN b))))", "(S (NN a) (NP (NN b)))")
            for root in ["", "ROOT", "TOP", "S1", "VROOT"]
        ],
        ("( ( (S (NN a))))", "(S (NN a))"),
        ("(ROOT (NP (NN a)) (NP (NN b)))", "(TOP (NP (NN a)) (NP (NN b)))"),
        ("( (NN yes))", "(TOP (NN yes))"),
        ("(NN yes)", "(TOP (NN yes))"),
        ("(S1 (. .) (-NONE- *))", "(TOP (. .))"),
        ("(S (TOP (NN a)))", "(S (TOP (NN a)))"),  # only a root has another name for TOP
        ("(NP (NP (NP (NN a))))", "(NP (NP (NP (NN a))))"),
        ("(S (NP (NP (NN a)) (-NONE- *)))", "(S (NP (NP (NN a))))"),
        ("(X (: -) (-LRB- {) (- x) (=P y) (|Q z))", "(X (: -) (-LRB- {) (- x) (=P y) (|Q z))"),
        ("(S (ADVP|PRT-CLR (RB|RP a)))", "(S (ADVP (RB a)))"),
        ("(NP (NN New York) (-NONE- * *))", "(NP (NN New) (NN York))"),
        ("(NP (NN a\u00a0b\u2028c\x85))", "(NP (NN a\u00a0b\u2028c\x85))"),  # only ASCII's white space ends a word
    ],
)
def test_cleaning(text, clean, tmp_path):
    (tree,) = read_trees(written(tmp_path, text))
    assert one_line(tree) == clean
    again = clean_tree(tree)
    assert again == tree and again is not tree


def test_cleaning_leaves_the_given_tree_alone_and_names_brackets_in_words():
    tree = nltk.Tree("ROOT", [nltk.Tree("NP-SBJ", [nltk.Tree("-LRB-", ["("]), nltk.Tree("NN", ["Ca(2+)"])])])
    assert one_line(clean_tree(tree)) == "(NP (-LRB- -LRB-) (NN Ca-LRB-2+-RRB-))"
    assert tree[0].label() == "NP-SBJ" and words_of(clean_tree(tree)) == words_of(tree) == ["(", "Ca(2+)"]


def test_words_have_their_signs_back():
    tree = nltk.Tree.fromstring(
        r"(X (A -LCB-) (A -RCB-) (A -LSB-) (A -RSB-) (A -LRB-) (A -RRB-) (A 1\/2) (A \*) (A -))"
    )
    assert words_of(tree) == ["{", "}", "[", "]", "(", ")", "1/2", "*", "-"]


NEXT = "Close it, or indent the lines inside it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(S (NN a))\n(S (NN b)\n(S (NN c))\n",
            f", line 2: of the tree that begins here, 1 bracket is still open where line 3 begins another one. {NEXT}.",
        ),
        (
            "\n(S (NP (NN b)\n  (NN c)\n",
            ", line 2: of the tree that begins here, 2 brackets are still open at the end of the file.",
        ),
        ("(S (NN a))\n(S (NN b)))\n", ", line 2: a ) closes no bracket. Remove it, or open one before it."),
        ("(S (NN a)) tail", ", line 1: 'tail' is outside of brackets. Remove it."),
        ("(S (NN a))\n\n*x* comment\n(S (NN a))", ", line 3: '*x* comment' is outside of brackets. Remove it."),
        ("plain text (with brackets)", ", line 1: 'plain text' is outside of brackets. Remove it."),
        ("(S (NN a))\n\n( ())", ", line 3: the bracket () is empty. Put a word into it, or remove it."),
        ("(S (NP) (NN a))", ", line 1: the bracket (NP) is empty. Put a word into it, or remove it."),
        ("\n((NP (-NONE- *)))", ", line 2: the tree has no words, only empty elements. Remove it."),
        (
            "(S (NP John) (VP saw (NP Mary)))",
            ", line 1: the word 'saw' has no part-of-speech tag of its own, as cat has in (NN cat).",
        ),
        ("(S (NN a) ((NN b) (NN c)))", ", line 1: a bracket inside the tree has no label: it holds 'b c'."),
        ("(A " * 201 + "b" + ")" * 201, ", line 1: more than 200 brackets inside each other."),
        ("", " holds no tree. A tree is in brackets, as in (NP (DT the) (NN cat))."),
        (" \n\n", " holds no tree. A tree is in brackets, as in (NP (DT the) (NN cat))."),
        (
            "(S (NN caf\u00e9))".encode("latin-1"),
            ", line 1: not valid UTF-8 (byte 11 of the line is 0xe9). Convert the file to UTF-8, or remove the line.",
        ),
        (
            "(S (NN a))".encode("utf-16"),
            " is UTF-16: its first bytes are ff fe 28 00. Convert it to UTF-8, for example by: "
            "iconv -f UTF-16 -t UTF-8 {path} > utf8.txt",
        ),
    ],
)
def test_what_is_no_tree_is_refused(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        read_trees(path)
    assert str(caught.value) == f"{path}{message}".replace("{path}", str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path='.*none\.mrg' does not exist"):
        read_trees(tmp_path / "none.mrg")


@pytest.mark.parametrize(
    ("tree", "kind", "message"),
    [
        ("(NP (NN a))", TypeError, r"tree must be an nltk\.Tree, got '\(NP \(NN a\)\)' \(str\)\.$"),
        (nltk.Tree("N P", ["a"]), ValueError, r"a label must be a string without white space and brackets, got 'N P'"),
        (nltk.Tree(None, ["a"]), ValueError, r"a label must be a string .* got None"),
        (nltk.Tree("NP", ["a b"]), ValueError, r"a word must be a string without white space, got 'a b' \(str\)"),
        (nltk.Tree("NP", [3]), ValueError, r"a word must be a string without white space, got 3 \(int\)"),
    ],
)
def test_what_is_no_tree_of_nltk_is_refused(tree, kind, message):
    with pytest.raises(kind, match=message):
        clean_tree(tree)


def test_without_nltk_a_message_names_the_extra(tmp_path, monkeypatch):
    path = written(tmp_path, PENN)
    monkeypatch.setitem(sys.modules, "nltk.tree", None)
    with pytest.raises(ImportError) as caught:
        read_trees(path)
    assert str(caught.value).startswith(
        "keras_transformer.parsing needs nltk: pip install 'keras-transformer-translation[parsing]'. Python says: "
    )


def test_nltk_is_loaded_at_first_use_only():
    """It takes seconds."""
    for path in Path(parsing.__file__).parent.glob("*.py"):
        top = ast.parse(path.read_text(encoding="utf-8")).body
        assert "nltk" not in "".join(ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom))
