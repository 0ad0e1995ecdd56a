"""From sentences to translations."""

from keras_transformer.translation.shortlist import Shortlist
from keras_transformer.translation.teaching import distill
from keras_transformer.translation.translator import Hypothesis, Score, Translator, load_model

__all__ = ["Hypothesis", "Score", "Shortlist", "Translator", "distill", "load_model"]
