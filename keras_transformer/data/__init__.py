"""Text files to batches."""

from keras_transformer.data.pipeline import CorpusReport, CorpusShare, parallel_corpus, read_pairs

__all__ = ["CorpusReport", "CorpusShare", "parallel_corpus", "read_pairs"]
