"""What `model.fit` needs around it: progress, checkpoints, samples, and the card of a result."""

from keras_transformer.training.card import provenance, result_card, write_card
from keras_transformer.training.checkpoint import Checkpoint
from keras_transformer.training.progress import Throughput, TrainingProgress
from keras_transformer.training.samples import SampleTranslations
from keras_transformer.training.workers import is_chief, workers_strategy

__all__ = [
    "Checkpoint",
    "SampleTranslations",
    "Throughput",
    "TrainingProgress",
    "is_chief",
    "provenance",
    "result_card",
    "workers_strategy",
    "write_card",
]
