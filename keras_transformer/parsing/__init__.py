"""Constituency trees: bracketed files to token sequences and back, labeled F1, drawings, a parser.

Needs the extra `parsing`. The parser needs TensorFlow too.
"""

from typing import TYPE_CHECKING

from keras_transformer.parsing.cleaning import clean_tree
from keras_transformer.parsing.constraint import TreeConstraint
from keras_transformer.parsing.drawing import draw_tree
from keras_transformer.parsing.evaluation import evaluate_trees
from keras_transformer.parsing.linear import to_tokens
from keras_transformer.parsing.pairs import TreePairsReport, tokenizer_options, tree_pairs, write_tree_pairs
from keras_transformer.parsing.reading import read_trees
from keras_transformer.parsing.repair import ParsedTree, to_tree
from keras_transformer.parsing.scores import BracketScores, TreeScores
from keras_transformer.parsing.words import words_of

if TYPE_CHECKING:
    from keras_transformer.parsing.parser import Parser

__all__ = [
    "BracketScores",
    "ParsedTree",
    "Parser",
    "TreeConstraint",
    "TreePairsReport",
    "TreeScores",
    "clean_tree",
    "draw_tree",
    "evaluate_trees",
    "read_trees",
    "to_tokens",
    "to_tree",
    "tokenizer_options",
    "tree_pairs",
    "words_of",
    "write_tree_pairs",
]

if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name):
        if name != "Parser":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from keras_transformer.parsing.parser import Parser

        return Parser
