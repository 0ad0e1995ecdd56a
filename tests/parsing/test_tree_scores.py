"""The scores are those of EVALB. Its own output on these sentences is recorded here."""

import nltk
import pytest

from keras_transformer.parsing import evaluate_trees

FORTY = "(S (NP " + "(NN a) " * 39 + ") (. .))"
FORTY_ONE = "(S (NP " + "(NN a) " * 40 + ") (. .))"
WRONG, SKIPPED = (1, 0, 0, 0, 0, 0, 0), (2, 0, 0, 0, 0, 0, 0)

# Reference, hypothesis, and what the program `evalb -p COLLINS.prm` printed: state (1 error, 2 skipped), matched
# brackets, brackets of the reference, of the hypothesis, crossing brackets, words, right tags.
RECORDED = [
    (
        "(S (NP (DT the) (NNS mice)) (VP (VBP run)) (. .))",
        "(S (NP (DT the) (NNS mice)) (VP (VBP run)) (. .))",
        (0, 3, 3, 3, 0, 3, 3),
    ),
    (  # attachment
        "(S (NP (PRP we)) (VP (VBD saw) (NP (NP (NNS cells)) (PP (IN with) (NP (NNS spots))))))",
        "(S (NP (PRP we)) (VP (VBD saw) (NP (NNS cells)) (PP (IN with) (NP (NNS spots)))))",
        (0, 6, 7, 6, 0, 5, 5),
    ),
    (  # crossing brackets
        "(S (NP (DT a) (NN b)) (VP (VBZ c) (NP (DT d) (NN e))))",
        "(S (NP (DT a)) (VP (NN b) (VBZ c)) (NP (DT d)) (VP (NN e)))",
        (0, 1, 4, 5, 1, 5, 5),
    ),
    (
        "(S (NP (NN a) (NN b)) (NP (NN c) (NN d)) (NP (NN e) (NN f)) (NP (NN g) (NN h)))",
        "(S (NN a) (NP (NN b) (NN c)) (NP (NN d) (NN e)) (NP (NN f) (NN g)) (NN h))",
        (0, 1, 5, 4, 3, 8, 8),
    ),
    (  # one on each side
        "(S (NP (NN a) (NN b)) (NN c) (NN d) (NN e) (NP (NN f) (NN g)))",
        "(S (NN a) (NP (NN b) (NN c)) (NN d) (NP (NN e) (NN f)) (NN g))",
        (0, 1, 3, 3, 2, 7, 7),
    ),
    (  # a wrong label, and a wrong tag
        "(S (NP (NN time)) (VP (VBZ flies) (ADVP (RB fast))))",
        "(S (NP (NN time)) (VP (NNS flies) (ADJP (RB fast))))",
        (0, 3, 4, 4, 0, 3, 2),
    ),
    (  # PRT is ADVP
        "(S (VP (VB give) (PRT (RP up))) (ADVP (RB now)))",
        "(S (VP (VB give) (ADVP (RP up))) (PRT (RB now)))",
        (0, 4, 4, 4, 0, 3, 3),
    ),
    (  # function tags
        "(S (NP-SBJ-1 (NNS mice)) (VP (VBD ran) (NP=2 (NN home))))",
        "(S (NP (NNS mice)) (VP (VBD ran) (NP-TMP (NN home))))",
        (0, 4, 4, 4, 0, 3, 3),
    ),
    (  # empty elements
        "(S (NP (NNS mice)) (VP (VBD were) (VP (VBN seen) (NP (-NONE- *)))))",
        "(S (NP (NNS mice)) (VP (VBD were) (VP (VBN seen))))",
        (0, 4, 4, 4, 0, 3, 3),
    ),
    (  # punctuation elsewhere, and a phrase of punctuation
        "(S (`` ``) (NP (NN x)) (, ,) ('' '') (VP (VBZ is) (NP (NN y))) (. .))",
        "(S (`` ``) (NP (NN x) (, ,) ('' '')) (VP (VBZ is) (NP (NN y)) (PRN (: --) (. .))))",
        (0, 4, 4, 4, 0, 3, 3),
    ),
    ("(S (NP (NN x)) (VP (VBZ is)) (. .))", "(S (NP (NN x)) (VP (VBZ is)) (NN .))", WRONG),
    ("(S (NP (NN x)) (VP (VBZ is)))", "(S (NP (NN x)) (VP (VBZ is) (NP (NN y))))", WRONG),
    ("(S (NP (NN x)) (VP (VBZ is)))", "(S (NP (NN x)) (VP (VBZ was)))", WRONG),
    ("(S (NP (NN x)) (. .))", "(S (. x) (. .))", SKIPPED),
    ("(FRAG (. ?))", "(FRAG (. ?))", SKIPPED),
    (  # the same bracket several times
        "(S (NP (NP (NN x))) (VP (VBZ is)))",
        "(S (NP (NN x)) (VP (VP (VP (VBZ is)))))",
        (0, 3, 4, 5, 0, 2, 2),
    ),
    (
        "(TOP (S (NP (NN x)) (VP (VBZ is))))",
        "(TOP (SINV (NP (NN x)) (TOP (VP (VBZ is)))))",
        (0, 2, 3, 3, 0, 2, 2),
    ),
    (  # words that are brackets
        "(NP (NN BMP) (PRN (-LRB- -LRB-) (NN x) (-RRB- -RRB-)))",
        "(NP (NN BMP) (-LRB- -LRB-) (NP (NN x)) (-RRB- -RRB-))",
        (0, 1, 2, 2, 0, 4, 4),
    ),
    (FORTY, "(S (NP (NN a)) (NP " + "(NN a) " * 38 + ") (. .))", (0, 1, 2, 3, 0, 39, 39)),
    (FORTY_ONE, FORTY_ONE, (0, 2, 2, 2, 0, 40, 40)),
]
# EVALB's summary of these sentences.
SUMMARY = """
                                 all     <= 40 words
Sentences                         20              19
Error sentences                    3               3
Skipped sentences                  2               2
Valid sentences                   15              14
Bracketing recall              72.73           71.70
Bracketing precision           71.43           70.37
Bracketing F1                  72.07           71.03
Complete match                 40.00           35.71
Average crossing                0.40            0.43
No crossing                    80.00           78.57
2 or less crossing             93.33           92.86
Tagging accuracy               99.23           98.89
"""


def read(text):
    return nltk.Tree.fromstring(text)


def score(hypothesis, reference, **options):
    return evaluate_trees([read(hypothesis)], [read(reference)], **options).every


@pytest.mark.parametrize(("reference", "hypothesis", "recorded"), RECORDED)
def test_a_sentence_counts_as_in_evalb(reference, hypothesis, recorded):
    counts = score(hypothesis, reference)
    assert recorded == (
        counts.errors + 2 * counts.skipped,
        counts.matched,
        counts.reference_brackets,
        counts.hypothesis_brackets,
        counts.crossings,
        counts.tagged_words,
        counts.right_tags,
    )


def test_the_summary_is_that_of_evalb():
    references, hypotheses, _ = zip(*RECORDED, strict=True)
    scores = evaluate_trees(map(read, hypotheses), map(read, references))
    assert str(scores) == SUMMARY.strip("\n")
    assert scores.error_places == (10, 11, 12)
    assert str(scores.short).splitlines()[6] == "Bracketing F1              71.03"


def test_punctuation_counts_for_the_length():
    scores = evaluate_trees([read(FORTY), read(FORTY_ONE)], [read(FORTY), read(FORTY_ONE)])
    assert (scores.every.sentences, scores.short.sentences) == (2, 1)
    assert evaluate_trees([read(FORTY)], [read(FORTY)], limit=39).short.sentences == 0


def test_a_word_without_a_tag_takes_that_of_the_reference():
    reference = "(S (NP (NN x)) (, ,) (VP (VBZ is)) (. .))"
    untagged = score("(S (NP (XX x) (XX ,)) (VP (XX is)) (XX .))", reference)
    assert (untagged.matched, untagged.hypothesis_brackets, untagged.errors) == (3, 3, 0)
    assert untagged.tagging_accuracy is None and "no tags" in str(untagged)
    half = score("(S (NP (XX x) (XX ,)) (VP (MD is)) (XX .))", reference)
    assert (half.f1, half.tagged_words, half.tagging_accuracy) == (100, 1, 0)
    assert score("(S (NP (XX x)) (VP (XX is)) (XX .))", reference).errors == 1


@pytest.mark.parametrize("root", ["", "ROOT", "S1", "TOP"])
def test_a_root_above_the_sentence_does_not_count(root):
    counts = score(f"({root} (S (NN x)))", "(S (NN x))")
    assert (counts.matched, counts.reference_brackets, counts.hypothesis_brackets) == (1, 1, 1)


def test_escapes_make_no_difference():
    assert score(r"(NP (-LRB- -LCB-) (CD 1\/2))", "(NP (-LRB- {) (CD 1/2))").f1 == 100


def test_nothing_right_is_zero():
    counts = score("(NP (NN x))", "(VP (NN x))")
    assert (counts.recall, counts.precision, counts.f1, counts.complete_match) == (0, 0, 0, 0)
    assert score("(NP (NN y))", "(NP (NN x))").average_crossing == 0  # no valid sentence


TREE = read("(NP (NN x))")


@pytest.mark.parametrize(
    ("hypotheses", "references", "options", "kind", "message"),
    [
        ([TREE], [TREE, TREE], {}, ValueError, r"hypotheses and references must be equally many, got 1 and 2\.$"),
        ([], [], {}, ValueError, r"hypotheses and references are empty\. There is nothing to score\.$"),
        (
            [TREE],
            ["(NP (NN x))"],
            {},
            TypeError,
            r"references\[0\] must be an nltk\.Tree, got '\(NP \(NN x\)\)' \(str\)",
        ),
        (TREE, [TREE], {}, TypeError, r"hypotheses must be a list of trees, got one tree\. Write \[tree\]\.$"),
        ("(NP", [TREE], {}, TypeError, r"hypotheses must be a list of nltk\.Tree, got one string"),
        ([TREE], [TREE], {"limit": 0}, ValueError, r"limit must be a whole number of at least 1, got 0\."),
        (
            [read("(S (NP the cat))")],
            [TREE],
            {},
            ValueError,
            r"hypotheses\[0\] has words without a tag of their own: '\(NP the cat\)'\.$",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(hypotheses, references, options, kind, message):
    with pytest.raises(kind, match=message):
        evaluate_trees(hypotheses, references, **options)


def test_the_result_of_to_tree_is_named():
    from keras_transformer.parsing import to_tree

    with pytest.raises(
        TypeError, match=r"hypotheses\[0\] must be an nltk\.Tree, got ParsedTree.*\. Take its \.tree\.$"
    ):
        evaluate_trees([to_tree("(NP XX )NP", ["x"])], [TREE])
