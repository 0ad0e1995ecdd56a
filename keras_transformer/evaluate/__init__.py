"""Scores of translations, all computed by sacreBLEU: BLEU, chrF, chrF++, TER, and BLEU as the paper counts it."""

from keras_transformer.evaluate.comparison import ComparedScore, Comparison, compare
from keras_transformer.evaluate.paper import paper_tokens
from keras_transformer.evaluate.scores import Scores, evaluate

__all__ = ["ComparedScore", "Comparison", "Scores", "compare", "evaluate", "paper_tokens"]
