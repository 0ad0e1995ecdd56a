"""A SavedModel of the whole way from strings to strings, for TF Serving."""

import tensorflow as tf

from keras_transformer.exporting.module import ServingModule
from keras_transformer.files import written_beside


def export(translator, path, overwrite=False, precision="float32", max_source_length=256):
    """Write `translator` as a SavedModel, whose graphs hold tokenizer, search and detokenizer.

    To load it, TensorFlow and TensorFlow Text's ops are enough. Its signatures, for B sentences and a
    beam of N:

    - `serving_default`: `sentences` [B] string -> `translations` [B] string, `scores` [B] float32,
      log P / length penalty of each, `truncated` [B] bool.
    - `n_best`: `sentences` -> `translations` [B, N], `scores` [B, N], best first, `truncated`. Where the
      search reached no hypothesis stand "" and the score -1e9.
    - `score`: `sentences`, `translations` [B] string -> `scores`, `log_probabilities` [B] float32 and
      `token_counts` [B] int32 as `Translator.score` gives them, END counted, `truncated`.
    - `ids`: `source_ids` [B, S] int32, pieces closed by END = 3 -> `ids` [B, L] int32, pieces closed by
      END and padded with 0, `scores`, `truncated`. What stands behind a row's first END does not count;
      a row without END gets one. Another id than a piece's is an InvalidArgumentError.
    - `align`: `sentences` -> `translations`, `scores`, `source_pieces` [B, S], `target_pieces` [B, T]
      string, "" at padding, `alignment` [B, T, S] float32 as in `Translator.alignment`, `truncated`.

    Sources are cut to `max_source_length` tokens, END counted, or fewer where learned positions leave no
    room for more, and texts to 64 bytes a token before that; a translation in `score` to what a search
    may give. `truncated` says where that happened. Bytes that are no UTF-8 are read as U+FFFD.

    Args:
        translator: a `Translator`; its options are part of the graph.
        path: a folder, for TF Serving `<name>/<version>` with a number as version.
        overwrite: replace `path` if it exists.
        precision: "float32", "bfloat16", "float16" or "int8" (a scale for each channel): how the folder
            holds matrices; they are computed with in the model's dtype, to which loading brings them.
            Vectors stay float32.
        max_source_length: the most tokens of a source.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
        ValueError: an unknown precision, or a weight it cannot hold; a `max_source_length` below 2, or learned
            positions without room for so much.
    """
    with written_beside(path, overwrite) as beside:
        module = ServingModule(translator, precision, max_source_length)
        tf.saved_model.save(module, str(beside), signatures=module.answers)
