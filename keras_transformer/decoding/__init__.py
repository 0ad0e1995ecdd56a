"""Search for translations, with any decoder.

A search knows nothing about a model. It calls a decoder: an object with functions over a state. The state is a
value: a nest of tensors, which may be empty.

- `step(ids, state) -> (logits, state)` takes the last token of each hypothesis, (B, W) int32. It gives the next
  token's logits, (B, W, V) float32. It may overwrite the state that it is given.
- `reorder(state, parents)`, for beam search: hypothesis w of sentence b continues hypothesis `parents[b, w]`,
  (B, W') int32. W' may differ from W, but it is at most the W that the state was made for.
- `keep(state, sentences)`, for segments: the state of these sentences, (B',) int32. One may come more than once.
- `grow(state, more)`, for segments: the state with room for `more` tokens than it had.
- `attention(state)`, for a coverage penalty: the attention of the last step to the source, (B, W, S) float32.

An `Ensemble` is a decoder too. A small decoder, whose next token depends on the last token only:

    class Bigrams:
        def step(self, ids, table):
            return keras.ops.take(table, ids, axis=0), table  # (B, W, V)

        def reorder(self, table, parents):
            return table
"""

from keras_transformer.decoding.beam import BeamOptions, beam_search
from keras_transformer.decoding.constraints import Constraint
from keras_transformer.decoding.ensemble import Ensemble
from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.decoding.independent import greedy_search, sample
from keras_transformer.decoding.penalties import length_divisor
from keras_transformer.decoding.rules import Bounds, Rules
from keras_transformer.decoding.sampling import SamplingOptions

__all__ = [
    "BeamOptions",
    "Bounds",
    "Constraint",
    "Ensemble",
    "Hypotheses",
    "Rules",
    "SamplingOptions",
    "beam_search",
    "greedy_search",
    "length_divisor",
    "sample",
]
