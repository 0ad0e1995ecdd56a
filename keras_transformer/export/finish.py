"""From a SavedModel just written to an export that can be deployed: its checks, and what belongs beside its graph."""

import dataclasses

import tensorflow as tf

from keras_transformer.export.card import ExportFacts, write_card
from keras_transformer.export.checks.example_inputs import example_sentences
from keras_transformer.export.checks.saved_model import DEFAULT, read_saved_model
from keras_transformer.export.checks.served_ops import require_served
from keras_transformer.export.checks.verify import verify
from keras_transformer.export.server.server_protos import prediction_log
from keras_transformer.export.server.serving_files import check_serving_files, name_and_version, write_serving_files
from keras_transformer.export.server.warmup import write_warmup

WARMUP_BATCH = 8


def require_servable(path):
    """What must hold for serving files, and can be known before the model is written.

    Raises:
        ValueError: a path that a server would not see; it needs `<name>/<number>`.
        ImportError: tensorflow-serving-api is not installed.
    """
    name_and_version(path)
    prediction_log()


def facts_of(translator, beside, max_source_length, precision):
    """The `card.ExportFacts` of a translator, with the translations of a few examples to check its export by.

    They are the translator's own where it and the export compute alike, both in float32 throughout. Else
    they are what the export answers when it is loaded in this process.

    Args:
        translator: a `Translator`.
        beside: the folder that holds the SavedModel.
        max_source_length, precision: as in `ExportFacts`; the examples are no longer.
    """
    sentences = example_sentences(translator.tokenizer, max_source_length)
    layers = [layer for model in translator.models for layer in model.layers]
    with tf.device("CPU"):  # where the check runs
        if precision == "float32" and all(layer.compute_dtype == "float32" for layer in layers):
            best = [(one.text, one.score) for [one] in translator.n_best(sentences, 1, workers=1)]
        else:
            found = tf.saved_model.load(str(beside)).signatures[DEFAULT](sentences=tf.constant(sentences))
            texts = [text.decode() for text in found["translations"].numpy()]
            best = list(zip(texts, found["scores"].numpy().tolist(), strict=True))
    return ExportFacts(
        sentences,
        [text for text, _ in best],
        [score for _, score in best],
        dataclasses.asdict(translator.options),
        max_source_length,
        precision,
        {"parameters": f"{sum(model.count_params() for model in translator.models):,}"},
        translator.folder,
    )


def finish(beside, path, facts, batching=None, check=True):
    """Check a SavedModel that was written beside its place, and write what belongs to it.

    Args:
        beside: the folder that holds the SavedModel, and will be moved to `path`.
        path: where it will stand.
        facts: `card.ExportFacts`.
        batching: `serving_files.Batching` to write a server's files and warm-up records too, or None.
        check: False leaves out the run in a process without Keras.

    Returns:
        Two lists of paths: the serving files that were written beside `path`, and those kept.

    Raises:
        RuntimeError: it does not run, or translates otherwise, in a process without Keras.
        ValueError: an op that a stock server lacks; or, for a server, a path it does not see, or files beside
            `path` that do not fit.
        ImportError: tensorflow-serving-api is not installed and `batching` given.
    """
    contents = read_saved_model(beside)
    require_served(contents)
    max_batch_size = None
    if batching is not None:
        require_servable(path)
        max_batch_size = check_serving_files(path, contents.signatures, batching)
    if check:
        verify(beside, facts.sentences, facts.translations, facts.scores)
    if batching is not None:
        sizes = sorted({1, min(WARMUP_BATCH, max_batch_size)})  # a server refuses a model whose warm-up fails
        write_warmup(beside, facts.sentences, sizes, facts.translations)
    write_card(beside, contents, path, facts, max_batch_size)
    return ([], []) if batching is None else write_serving_files(path, contents.signatures, batching)
