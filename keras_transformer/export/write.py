"""Writes a translator as a SavedModel that takes strings and gives strings, for TF Serving."""

import logging
from typing import Any

from keras_transformer.backend.int8 import IntegersNotExact, integer_copy
from keras_transformer.export.checks.saved_model import contents_of
from keras_transformer.export.finish import facts_of, finish
from keras_transformer.export.graph.module import ServingModule, source_limit
from keras_transformer.export.graph.precision import INTEGERS
from keras_transformer.export.graph.saving import save
from keras_transformer.export.readme import FILES
from keras_transformer.export.server.server_protos import prediction_log
from keras_transformer.export.server.serving_files import Batching, ServingFiles
from keras_transformer.files import written_beside
from keras_transformer.inputs.numbers import switch
from keras_transformer.inputs.paths import AnyPath

logger = logging.getLogger("keras_transformer")


def export(
    translator: Any,
    path: AnyPath,
    overwrite: bool = False,
    serving: bool | Batching = False,
    precision: str = "float32",
    compute: str | None = None,
    max_source_length: int = 256,
    check: bool = True,
) -> None:
    """Write a translator as a SavedModel whose graph holds tokenizer, search and detokenizer.

    The docstring of `keras_transformer.export` describes its signatures. The folder also holds a README.md, the SHA-256
    of each file, and a copy of the result card if the translator was loaded from a training folder. Before the export
    moves to `path`, a process that cannot import Keras or this package loads it as a server does. That process must
    give the same translations.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, Transformer, Translator
        from keras_transformer.export import export

        Path("train.txt").write_text("one two three\\n" * 9)
        tokenizer = Tokenizer.train("train.txt", vocabulary_size=20, model="wordpiece")
        model = Transformer(vocabulary_size=20, num_encoder_layers=1, num_decoder_layers=1, d_model=8, num_heads=2)
        export(Translator(model, tokenizer, beam_size=1), "one_two/1", check=False)
        ```

    Args:
        translator: a `Translator`. Its options become part of the graph.
        path: a folder. For TF Serving it must be `<name>/<version>`, with a number as version.
        overwrite: whether to replace `path` if it exists.
        serving: True, or a `Batching`, also writes the files that a stock TensorFlow Serving starts from: warm-up
            requests in the folder, and `models.config`, `batching.config`, `monitoring.config` and
            `docker-compose.yml` beside it. Those of the four that exist stay, and must fit this export.
        precision: "float32", "bfloat16", "float16" or "int8" (with one scale for each channel). The folder stores
            matrices in this precision. Loading converts them to the model's dtype. Vectors are stored in float32.
        compute: None computes in the dtype of the models. "int8" multiplies in 8-bit integers, as a quantized model
            does (see `Transformer.quantize`), which is faster on a processor. The translator itself stays as it is.
            The matrices of integers are constants of the graph, whatever the precision. The machine that loads the
            export needs TensorFlow with oneDNN and a processor with VNNI. Elsewhere loading fails.
        max_source_length: the most tokens of a source.
        check: whether to run the export in a clean process, which takes some seconds.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or it holds files that are not part of an export.
        ValueError: an unknown precision, or a weight that the precision cannot hold; a `compute` that is neither None
            nor "int8", or models that are too small for integers; a `max_source_length` below 2, or too few learned
            positions; an op that a stock server lacks; with `serving`, a path that is not `<name>/<number>`, or
            existing files that do not fit.
        TypeError: `serving` is not True, False or a `Batching`.
        IntegersNotExact: integers on a machine without oneDNN or VNNI.
        RuntimeError: the clean process failed, or gave other translations.
        ImportError: `serving` needs tensorflow-serving-api, which is not installed.
    """
    check = switch("check", check)
    serving_files = _serving_files(serving, path)
    try:
        with written_beside(path, overwrite, FILES) as beside:
            translator = _computing_in(compute, translator)
            proto = save(ServingModule(translator, precision, max_source_length), beside)
            facts = facts_of(translator, beside, source_limit(translator, max_source_length), precision)
            _, existing = finish(contents_of(beside, proto), path, facts, serving_files, check)
    except KeyboardInterrupt:
        logger.warning("The export was interrupted. %s is as it was before. Make the same call again.", path)
        raise
    if existing:
        logger.warning("these files existed and were not changed: %s", ", ".join(map(str, existing)))


def _computing_in(compute, translator):
    """The translator, or one of copies of its models in integers, as the argument `compute` of `export` asks for."""
    if compute is None:
        return translator
    if compute != INTEGERS:
        raise ValueError(f"compute must be None or {INTEGERS!r}, got {compute!r}. None keeps the dtype of the models.")
    try:
        copy = translator.with_models([integer_copy(model) for model in translator.models])
    except (ValueError, IntegersNotExact) as error:
        raise type(error)(f"compute={compute!r}: {error}") from error
    copy.folder = translator.folder  # the result card describes the same model
    return copy


def _serving_files(serving, path):
    """The `ServingFiles` that the argument `serving` of `export` asks for, or None."""
    if not isinstance(serving, bool | Batching):
        raise TypeError(f"serving must be True, False or a Batching, got {serving!r}.")
    if serving is False:
        return None
    prediction_log()  # an ImportError should come before the long work
    return ServingFiles(path, Batching() if serving is True else serving)
