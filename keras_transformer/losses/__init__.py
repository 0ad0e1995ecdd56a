"""The training loss of section 5.4."""

from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy

__all__ = ["LabelSmoothedCrossEntropy"]
