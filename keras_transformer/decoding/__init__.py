"""Search for the best translation, over any step function.

The contract: `step(ids, state) -> (logits, state)` takes the last token of each hypothesis, (B, W)
int32, and gives the next token's logits, (B, W, V). The state is a value, any nest of tensors.
`reorder(state, rows)` gives the state in which hypothesis r continues what hypothesis `rows[r]` was,
both counted over (B·W,). Search knows nothing else of the model.
"""

from keras_transformer.decoding.beam import beam_search
from keras_transformer.decoding.greedy import greedy_search
from keras_transformer.decoding.hypotheses import Hypotheses
from keras_transformer.decoding.penalties import length_penalty

__all__ = ["Hypotheses", "beam_search", "greedy_search", "length_penalty"]
