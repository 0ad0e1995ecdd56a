"""A parser: every output is a tree over the words, in Python and in an export, whatever the model says."""

import pickle
from types import SimpleNamespace

import pytest
import tensorflow as tf
import tiny

from keras_transformer import Tokenizer, TokenizerPair
from keras_transformer.parsing import Parser, TreeConstraint, to_tokens, to_tree, tokenizer_options
from keras_transformer.translation.options import SearchOptions

TREES = ["(S (NP DT NN )NP (VP VBP )VP )S", "(S (NP NN )NP (VP VBP (NP NN )NP )VP . )S"]
TEXTS = ["the mice run", "cats see mice .", "a rat (sees) cats"]
SENTENCES = [
    "mice run",
    "the cats see a ( rat ) .",
    "run",
    "caf\u00e9 \u2603 mice",
    "a b c d e f g",
    "see\u00a0the cats .",
]
# The same words with other spaces between them.
SPACED = {"  mice \t run ": "mice run", "run\n": "run"}


def one_line(parsed):
    return parsed.tree.pformat(margin=10**6)


@pytest.fixture(scope="module")
def pair():
    words = Tokenizer.train(TEXTS, vocabulary_size=285)
    return TokenizerPair(words, Tokenizer.train(TREES, **tokenizer_options(TREES)))


@pytest.fixture(scope="module")
def model(pair):
    sizes = {"vocabulary_size": 285, "target_vocabulary_size": pair.target.vocabulary_size}
    return tiny.make_random(**sizes)


@pytest.fixture(scope="module")
def parser(model, pair):
    return Parser(model, pair, beam_size=2, max_extra_length=12)


@pytest.fixture(scope="module")
def parsed(parser):
    return parser(SENTENCES)


def test_every_output_is_a_tree_over_the_words(parsed):
    assert [each.repairs for each in parsed] == [{}] * len(SENTENCES)
    for sentence, each in zip(SENTENCES, parsed, strict=True):
        words = sentence.replace("(", "-LRB-").replace(")", "-RRB-").split(" ")
        assert each.tree.leaves() == words
        tokens = to_tokens(each.tree, leaves="tags")
        assert to_tree(tokens, words).tree == each.tree and len(tokens) + 1 <= len(sentence.encode()) + 1 + 12


def test_the_graph_writes_the_same_trees(parser, parsed):
    hypotheses = parser.translator.n_best(SENTENCES, 1)
    assert [best.text for [best] in hypotheses] == list(map(one_line, parsed))


@pytest.fixture(scope="module")
def copying():
    """A tokenizer of words and brackets, and a random model of it."""
    tokenizer = Tokenizer.train(TEXTS, 290, **tokenizer_options(TREES, "words"))
    return tiny.make_random(vocabulary_size=290), tokenizer


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_parser_may_copy_the_words(copying, beam_size):
    parser = Parser(*copying, beam_size=beam_size, max_extra_length=12)
    found = parser(SENTENCES)
    assert [each.repairs for each in found] == [{}] * len(SENTENCES)
    escaped = [sentence.replace("(", "-LRB-").replace(")", "-RRB-") for sentence in SENTENCES]
    assert [each.tree.leaves() for each in found] == [text.split(" ") for text in escaped]
    hypotheses = [best for [best] in parser.translator.n_best(escaped, 1)]
    assert [best.text for best in hypotheses] == list(map(one_line, found))
    for sentence, best in zip(escaped, hypotheses, strict=True):
        pieces = [token for token in best.tokens[:-1] if token[1:2] not in ("(", ")")]
        assert pieces == copying[1].pieces(copying[1].encode(sentence))


def test_copied_words_are_repaired_without_the_constraint(copying):
    parser = Parser(*copying, beam_size=1, max_extra_length=12, constrained=False)
    found = parser(SENTENCES)
    assert all(each.is_repaired for each in found)
    assert [len(each.tree.leaves()) for each in found] == [len(sentence.split(" ")) for sentence in SENTENCES]


def test_a_batch_is_its_sentences_and_spaces_do_not_count(parser, parsed):
    assert [one_line(parser([sentence])[0]) for sentence in SENTENCES] == list(map(one_line, parsed))
    assert parser(list(SPACED)) == parser(list(SPACED.values()))
    assert parser([]) == []


def test_without_the_constraint_the_tokens_of_the_model_are_repaired(model, pair):
    free = Parser(model, pair, beam_size=2, max_extra_length=12, constrained=False)
    found = free(SENTENCES)
    assert any(each.is_repaired for each in found)
    hypotheses = [best for [best] in free.translator.n_best(SENTENCES, 1)]
    for sentence, best, each in zip(SENTENCES, hypotheses, found, strict=True):
        tokens = [token.removeprefix("▁") for token in best.tokens if token != "</s>"]
        assert each == to_tree(tokens, sentence.split(" "))


def test_a_saved_and_a_pickled_parser_give_the_same(parser, parsed, tmp_path):
    parser.save(tmp_path / "parser")
    options = {"beam_size": 2, "max_extra_length": 12}
    loaded = Parser.load(tmp_path / "parser", **options)
    assert loaded.translator.folder == tmp_path / "parser" and loaded.constrained
    again = pickle.loads(pickle.dumps(parser))
    assert loaded(SENTENCES[:2]) == again(SENTENCES[:2]) == parsed[:2]


def test_an_export_gives_the_same_trees(parser, parsed, tmp_path):
    """The export also checks itself in a process without Keras, as a translator's does."""
    parser.export(tmp_path / "parser" / "1")
    signatures = tf.saved_model.load(tmp_path / "parser" / "1").signatures
    served = signatures["serving_default"](sentences=tf.constant([*SENTENCES, *SPACED, "  "]))["translations"].numpy()
    expected = [*map(one_line, parsed), *map(one_line, parser(list(SPACED.values()))), ""]
    assert [text.decode() for text in served] == expected
    hypotheses = signatures["n_best"](sentences=tf.constant(SENTENCES))["translations"].numpy()
    assert [row[0].decode() for row in hypotheses] == expected[: len(SENTENCES)]
    assert all(row[0] != row[1] for row in hypotheses)
    ids = [[*parser.translator.tokenizer.encode(SENTENCES[0]), 3]]
    found = signatures["ids"](source_ids=tf.constant(ids))["ids"].numpy()
    assert parser.translator.tokenizer.decode(found)[0].split(" ") == to_tokens(parsed[0].tree, leaves="tags")
    readme = (tmp_path / "parser" / "1" / "README.md").read_text(encoding="utf-8")
    assert "A parser of sentences" in readme and "keras_transformer.parsing.constraint.TreeConstraint" in readme


def test_what_cannot_be_parsed_is_named(parser, model, pair):
    with pytest.raises(ValueError, match=r"sentences\[1\] has no words. Leave it out."):
        parser(["mice", " \t"])
    with pytest.raises(ValueError, match=r"sentences\[0\] has 2 words, and 3 for the tokenizer: 'mice a▁b'. Replace"):
        parser(["mice a▁b"])
    with pytest.raises(TypeError, match="sentences must be a list of strings"):
        parser("mice run")
    with pytest.raises(ValueError, match="max_extra_length=1 must be at least 2: a tree has a root, and END"):
        Parser(model, pair, max_extra_length=1)
    with pytest.raises(TypeError, match="beam_sise"):
        Parser(model, pair, beam_sise=3)
    with pytest.raises(ValueError, match=r"the target's tokenizer has the piece .*, which is no token of a tree"):
        Parser(model, TokenizerPair(pair.source, pair.source))
    with pytest.raises(ValueError, match="an export needs constrained=True"):
        Parser(model, pair, beam_size=2, constrained=False).export("never")


def test_a_constraint_is_an_option_of_every_translator(pair):
    options = SearchOptions(constraint=TreeConstraint(pair))
    assert options.as_plain_values()["constraint"] == "keras_transformer.parsing.constraint.TreeConstraint"
    assert SearchOptions(**options.as_keywords()) == options
    assert SearchOptions().as_plain_values()["constraint"] is None
    for wrong in (TreeConstraint, SimpleNamespace(start=1, allowed=2), "trees"):
        with pytest.raises(TypeError, match="constraint must have the functions start, allowed and advance, got"):
            SearchOptions(constraint=wrong)
    for name, value in {"min_length": 2, "min_extra_length": 0, "no_repeat_ngram": 3, "suppress": ["unk"]}.items():
        with pytest.raises(ValueError, match=f"{name}=.* and a constraint cannot go together"):
            SearchOptions(constraint=TreeConstraint(pair), **{name: value})
