"""Checks a new SavedModel, and writes the other files of the export."""

import tensorflow as tf

from keras_transformer.export.checks.example_inputs import example_sentences
from keras_transformer.export.checks.saved_model import DEFAULT
from keras_transformer.export.checks.served_ops import require_supported_ops
from keras_transformer.export.checks.verify import verify
from keras_transformer.export.readme import ExportFacts, write_readme
from keras_transformer.export.server.warmup import write_warmup
from keras_transformer.inputs.tokenizers import is_pair, side_of, vocabulary_sizes

WARMUP_BATCH = 8


def facts_of(translator, beside, max_source_length, precision):
    """The facts for the README.md of an export, with example translations to check the export by.

    The translator makes these translations if it and the export compute in float32 throughout. Otherwise their results
    may differ. Then the export makes them itself, loaded in this process.

    Args:
        translator: a `Translator`.
        beside: the folder that holds the SavedModel.
        max_source_length, precision: as in `ExportFacts`. No example is longer than `max_source_length`.

    Returns:
        `readme.ExportFacts`.
    """
    sentences = example_sentences(side_of(translator.tokenizer, "source"), max_source_length)
    integers = any(model.quantized for model in translator.models)
    layers = [layer for model in translator.models for layer in model.layers]
    exact = precision == "float32" and not integers and all(layer.compute_dtype == "float32" for layer in layers)
    with tf.device("CPU"):  # the check runs there, too
        if exact:
            best = [hypothesis for [hypothesis] in translator.n_best(sentences, 1, workers=1)]
            translations = [hypothesis.text for hypothesis in best]
            scores = [hypothesis.score for hypothesis in best]
        else:
            outputs = tf.saved_model.load(str(beside)).signatures[DEFAULT](sentences=tf.constant(sentences))
            translations = [text.decode() for text in outputs["translations"].numpy()]
            scores = outputs["scores"].numpy().tolist()
    return ExportFacts(
        sentences,
        translations,
        scores,
        translator.options.as_plain_values(),
        max_source_length,
        precision,
        integers,
        _sizes(translator),
        translator.folder,
        translator.graph.about,
    )


def _sizes(translator):
    """The number of parameters, and the numbers of pieces if there are two vocabularies."""
    parameters = {"parameters": f"{sum(model.count_params() for model in translator.models):,}"}
    if not is_pair(translator.tokenizer):
        return parameters
    pieces = "{source:,} of the source, {target:,} of the target"
    return {**parameters, "pieces": pieces.format(**vocabulary_sizes(translator.tokenizer))}


def finish(contents, path, facts, serving_files=None, check=True):
    """Check a SavedModel in its temporary folder, and write the other files of the export.

    Args:
        contents: the `Contents` of the folder, which will be moved to `path`.
        path: the export's final path.
        facts: `readme.ExportFacts`.
        serving_files: `ServingFiles`, to write a server's files and warm-up requests as well, or None.
        check: whether to run the SavedModel in a process without Keras.

    Returns:
        Two lists of paths, see `ServingFiles.write`. Both are empty without `serving_files`.

    Raises:
        RuntimeError: the SavedModel does not run in a process without Keras, or gives other translations there.
        ValueError: a stock server lacks an op, or existing files of a server do not fit.
        ImportError: `serving_files` needs tensorflow-serving-api, which is not installed.
    """
    require_supported_ops(contents)
    max_batch_size = None if serving_files is None else serving_files.check(contents.signatures)
    if check:
        verify(contents, facts.sentences, facts.translations, facts.scores)
    if serving_files is not None:
        sizes = sorted({1, min(WARMUP_BATCH, max_batch_size)})  # a server refuses a model whose warm-up fails
        write_warmup(contents, facts.sentences, sizes, facts.translations)
    write_readme(contents, path, facts, max_batch_size)
    return ([], []) if serving_files is None else serving_files.write(contents.signatures)
