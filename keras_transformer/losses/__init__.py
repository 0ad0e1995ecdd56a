"""The training loss of section 5.4, and that of a student."""

from keras_transformer.losses.distillation import WordLevelDistillation
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy

__all__ = ["LabelSmoothedCrossEntropy", "WordLevelDistillation"]
