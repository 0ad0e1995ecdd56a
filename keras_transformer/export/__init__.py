"""Turns a translator into a service: a SavedModel that takes strings and gives strings.

`export` writes it. TensorFlow and the ops of TensorFlow Text are enough to load it. It has five signatures. Their
shapes use B for the number of sentences and N for the beam size.

- `serving_default`: the best translation of each sentence.
    - Input: `sentences` [B] string.
    - Outputs: `translations` [B] string; `scores` [B] float32, log P over the length penalty; `truncated` [B] bool.
- `n_best`: the N hypotheses for each sentence, best first.
    - Input: `sentences` [B] string.
    - Outputs: `translations` [B, N] string; `scores` [B, N] float32; `truncated` [B] bool. Where the search found
      fewer than N hypotheses of different texts, the translation is "" and the score is -1e9.
- `score`: the scores of given translations, as `Translator.score` computes them.
    - Inputs: `sentences` [B] string; `translations` [B] string.
    - Outputs: `scores` [B] float32; `log_probabilities` [B] float32; `token_counts` [B] int32, END counted;
      `truncated` [B] bool.
- `ids`: the best translation, for callers that have the tokenizer, or the two of source and target, themselves.
    - Input: `source_ids` [B, S] int32, the pieces of each sentence, then END = 3. Ids after the first END of a row are
      ignored. A row without END gets one. But a server that joins requests pads a row with the row's first id. So end
      each row with END if you ask a server. An id that is not a piece raises an InvalidArgumentError.
    - Outputs: `ids` [B, L] int32, pieces, then END, then 0 as padding; `scores` [B] float32; `truncated` [B] bool.
    - The ids of a blank sentence may be unknown pieces. This signature translates them, because it cannot see that the
      text was blank.
- `align`: the best translation, and the attention of its pieces to the pieces of the source.
    - Input: `sentences` [B] string.
    - Outputs: `translations` [B] string; `scores` [B] float32; `source_pieces` [B, S] string and `target_pieces`
      [B, T] string, "" at padding; `alignment` [B, T, S] float32, as `Translator.alignment` computes it; `truncated`
      [B] bool.

`truncated` is True where an input was too long and was cut. A source is cut to `max_source_length` tokens, END
counted, or to fewer if learned positions have no room for more. Before that, its text is cut to 64 bytes for each of
these tokens. A translation in `score` is cut to the greatest length that the search allows. Bytes that are not UTF-8
are read as U+FFFD.
"""

from keras_transformer.export.server.serving_files import Batching
from keras_transformer.export.write import export

__all__ = ["Batching", "export"]
