"""The decoder one token at a time, over the layers that training uses.

`IncrementalDecoder` is the decoder that the searches in `keras_transformer.decoding` ask for.
"""

from keras_transformer.incremental.decoder import IncrementalDecoder
from keras_transformer.incremental.state import DecoderState

__all__ = ["DecoderState", "IncrementalDecoder"]
