"""Search for the best translation, over any decoder.

A decoder is an object with four functions over a state, which is a value: any nest of tensors.

- `step(ids, state) -> (logits, state)`: takes the last token of each hypothesis, (B, W) int32, and
  gives the next token's logits, (B, W, V) float32. It may use up the state it is given.
- `reorder(state, parents)`: hypothesis w of sentence b continues what its hypothesis `parents[b, w]` was,
  (B, W') int32; they may become more or fewer, but never more than the state was made for.
- `keep(state, sentences)`: the sentences (B',) alone.
- `grow(state, more)`: room for `more` tokens than it had.

`attention(state)`, whom the last step attended to, (B, W, S), is asked for by a coverage penalty alone.
Search knows nothing else of the model; an `Ensemble` is one more decoder.
"""

from keras_transformer.decoding.beam import beam_search
from keras_transformer.decoding.ensemble import Ensemble
from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.decoding.lines import greedy_search, sample
from keras_transformer.decoding.penalties import length_penalty
from keras_transformer.decoding.rules import Rules

__all__ = ["Ensemble", "Hypotheses", "Rules", "beam_search", "greedy_search", "length_penalty", "sample"]
