"""A SavedModel of the whole way from strings to strings, for TF Serving."""

import logging

from keras_transformer.export.card import FILES
from keras_transformer.export.finish import facts_of, finish, require_servable
from keras_transformer.export.graph.module import ServingModule, source_limit
from keras_transformer.export.graph.saving import save
from keras_transformer.export.server.serving_files import Batching
from keras_transformer.files import written_beside

logger = logging.getLogger("keras_transformer")


def export(translator, path, overwrite=False, serving=False, precision="float32", max_source_length=256, check=True):
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
      a row without END gets one, but a server that joins requests pads with a row's first id: there each row needs its
      END. Another id than a piece's is an InvalidArgumentError. A sentence of
      unknown pieces alone is translated here, even where its text, which the ids do not tell, was blank.
    - `align`: `sentences` -> `translations`, `scores`, `source_pieces` [B, S], `target_pieces` [B, T]
      string, "" at padding, `alignment` [B, T, S] float32 as in `Translator.alignment`, `truncated`.

    Sources are cut to `max_source_length` tokens, END counted, or fewer where learned positions leave no
    room for more, and texts to 64 bytes a token before that; a translation in `score` to what a search
    may give. `truncated` says where that happened. Bytes that are no UTF-8 are read as U+FFFD.

    Beside the graph stand a README.md that lists all this, the digest of each file, and the result card of the
    folder that the translator was loaded from. Before the export moves into place, a process that cannot
    import Keras or this package must load it as a server does, and give the same translations.

    Args:
        translator: a `Translator`; its options are part of the graph.
        path: a folder, for TF Serving `<name>/<version>` with a number as version.
        overwrite: replace `path` if it exists.
        serving: True, or a `Batching`, writes what a stock TensorFlow Serving starts from: warm-up requests, and
            beside the version `models.config`, `batching.config`, `monitoring.config` and
            `docker-compose.yml`. Those that are there already stay, and must fit.
        precision: "float32", "bfloat16", "float16" or "int8" (a scale for each channel): how the folder
            holds matrices; they are computed with in the model's dtype, to which loading brings them.
            Vectors stay float32.
        max_source_length: the most tokens of a source.
        check: False leaves out the run in a clean process, which takes some seconds.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or it holds what no export does.
        ValueError: a quantised model; an unknown precision, or a weight it cannot hold; a `max_source_length` below
            2, or learned positions without room for so much; an op that a stock server lacks; with `serving`, a path
            that is not `<name>/<number>`, or files beside it that do not fit.
        TypeError: a `serving` that is neither True, False nor a `Batching`.
        RuntimeError: the clean process failed, or translated otherwise.
        ImportError: `serving` without tensorflow-serving-api.
    """
    if any(model.quantized for model in translator.models):
        raise ValueError(
            "a model in 8-bit integers is for decoding in process. Export the one it was made from; precision='int8' "
            "makes the folder small."
        )
    if not isinstance(serving, bool | Batching):
        raise TypeError(f"serving must be True, False or a Batching, got {serving!r}.")
    batching = Batching() if serving is True else serving or None
    if batching is not None:
        require_servable(path)  # before the long work
    with written_beside(path, overwrite, FILES) as beside:
        save(ServingModule(translator, precision, max_source_length), beside)
        facts = facts_of(translator, beside, source_limit(translator, max_source_length), precision)
        _, kept = finish(beside, path, facts, batching, check)
    if kept:
        logger.warning("kept as they were: %s", ", ".join(map(str, kept)))
