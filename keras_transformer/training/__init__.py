"""What `model.fit` needs around it: progress, checkpoints, samples, and the card of a result."""

from keras_transformer.training.averages import AverageWeights
from keras_transformer.training.card import provenance, result_card, write_card
from keras_transformer.training.checkpoint import Checkpoint
from keras_transformer.training.progress import Throughput, TrainingProgress
from keras_transformer.training.samples import SampleTranslations

__all__ = [
    "AverageWeights",
    "Checkpoint",
    "SampleTranslations",
    "Throughput",
    "TrainingProgress",
    "provenance",
    "result_card",
    "write_card",
]
