"""A SavedModel of the whole way from strings to strings, for TF Serving."""

import tensorflow as tf

from keras_transformer.files import written_beside


def serving_module(translator):
    """A `tf.Module` that holds what the serving graph needs and nothing of Keras.

    The decoder's weights are kept as `Transformer.step_weights` gives them, so that no request waits for
    them to be joined and transposed; of the models' own variables those that the graph still reads.
    """
    module = tf.Module(name="translator")
    module.tokenizer = translator.tokenizer
    prepared = [model.step_weights() for model in translator.models]
    module.step_weights = [tf.Variable(weight, trainable=False) for weight in tf.nest.flatten(prepared)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="sentences")], autograph=False)
    def serve(sentences):
        weights = tf.nest.pack_sequence_as(prepared, [variable.value() for variable in module.step_weights])
        found = translator.search(sentences, weights=weights)
        return {"translations": found["texts"][:, 0], "scores": found["scores"][:, 0]}

    module.model_variables = list(serve.get_concrete_function().graph.variables)
    module.serve = serve
    return module


def export(translator, path, overwrite=False):
    """Write `translator` as a SavedModel.

    Its signature `serving_default` maps `sentences`, a batch of UTF-8 strings [B], to `translations`
    [B] string and `scores` [B] float32: log P / length penalty of each. The graph holds tokenizer,
    search and detokenizer. To load it, TensorFlow and TensorFlow Text's ops are enough.

    Args:
        translator: a `Translator`; its options are part of the graph.
        path: a folder, for TF Serving `<name>/<version>` with a number as version.
        overwrite: replace `path` if it exists.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
    """
    with written_beside(path, overwrite) as beside:
        module = serving_module(translator)
        tf.saved_model.save(module, str(beside), signatures={"serving_default": module.serve})
