"""From text files to batches."""

from keras_transformer.data.pipeline import parallel_corpus, read_pairs
from keras_transformer.data.report import CorpusReport, CorpusShare
from keras_transformer.data.split import split_corpus

__all__ = ["CorpusReport", "CorpusShare", "parallel_corpus", "read_pairs", "split_corpus"]
