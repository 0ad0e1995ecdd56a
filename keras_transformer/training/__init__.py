"""Callbacks and files around `model.fit`: progress, checkpoints, resuming, averages, scores, curves, result cards."""

from keras_transformer.training.averages import AverageWeights
from keras_transformer.training.averaging import average
from keras_transformer.training.bleu import ValidationBLEU
from keras_transformer.training.card import provenance, result_card, write_card
from keras_transformer.training.checkpoint import Checkpoint
from keras_transformer.training.facts import training_facts
from keras_transformer.training.history import HistoryFile, read_history
from keras_transformer.training.nan import NonFiniteLoss, StopOnNaN
from keras_transformer.training.progress import Throughput, TrainingProgress
from keras_transformer.training.samples import SampleTranslations
from keras_transformer.training.tensorboard import TensorBoardLog
from keras_transformer.training.workers import is_chief, workers_strategy

__all__ = [
    "AverageWeights",
    "Checkpoint",
    "HistoryFile",
    "NonFiniteLoss",
    "SampleTranslations",
    "StopOnNaN",
    "TensorBoardLog",
    "Throughput",
    "TrainingProgress",
    "ValidationBLEU",
    "average",
    "is_chief",
    "provenance",
    "read_history",
    "result_card",
    "training_facts",
    "workers_strategy",
    "write_card",
]
