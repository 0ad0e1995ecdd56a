"""Strings to ids, and ids to strings."""

from keras_transformer.text.pair import TokenizerPair
from keras_transformer.text.sampler import SegmentationSampler
from keras_transformer.text.tokenizer import Tokenizer

__all__ = ["SegmentationSampler", "Tokenizer", "TokenizerPair"]
