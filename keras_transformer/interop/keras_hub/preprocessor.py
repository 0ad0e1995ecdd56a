"""Texts to the inputs of a `TransformerSeq2SeqLM`, and its output to texts."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from keras_transformer.backend.compat import in_one_line
from keras_transformer.ids import END, PAD, START
from keras_transformer.inputs.blank import BLANK
from keras_transformer.inputs.kinds import check_text, read_texts
from keras_transformer.inputs.numbers import whole
from keras_transformer.interop.keras_hub.backbone import TransformerBackbone
from keras_transformer.interop.keras_hub.tokenizer import TransformerTokenizer


@keras.saving.register_keras_serializable(package="keras_transformer")
class TransformerSeq2SeqLMPreprocessor(keras_hub.models.Seq2SeqLMPreprocessor):
    """Makes ids of pairs of texts for `fit`, and of sources for `generate`, with the conventions of this package.

    A source ends with END and has no START. The decoder's input is START + target, the labels are target + END, and
    the sample weights are 1 at labels and 0 at padding. Rows are padded to the longest of the batch, or to a fixed
    length if there is one: XLA compiles once for each shape. Nothing is cut off: a text that is longer than a fixed
    length is an error.

    Example:
        ```python
        from keras_transformer import Tokenizer
        from keras_transformer.interop.keras_hub import TransformerSeq2SeqLMPreprocessor, TransformerTokenizer

        tokenizer = TransformerTokenizer(Tokenizer.train(["the cat sat", "the dog sat"], vocabulary_size=280))
        preprocessor = TransformerSeq2SeqLMPreprocessor(tokenizer)
        x, labels, sample_weight = preprocessor({"encoder_text": ["the cat"], "decoder_text": ["the dog sat"]})
        print(x["encoder_token_ids"], x["decoder_token_ids"], labels)
        ```

    Args:
        tokenizer: a `TransformerTokenizer`.
        encoder_sequence_length: the length of source rows, END counted; None for the longest of each batch.
        decoder_sequence_length: the length of target rows, START counted; None for the longest of each batch. In
            `generate` it is the most tokens of each row, as is `max_length`.
        max_extra_length: without either, a generated text has at most this many tokens more than its source, as in
            `Translator`.
        **options: those of a Keras layer.

    Raises:
        TypeError, ValueError: a length that is no int of at least 1, or a `max_extra_length` below 0.
    """

    backbone_cls = TransformerBackbone
    tokenizer_cls = TransformerTokenizer

    def __init__(
        self,
        tokenizer,
        encoder_sequence_length=None,
        decoder_sequence_length=None,
        max_extra_length=50,
        **options,
    ):
        lengths = {
            "encoder_sequence_length": encoder_sequence_length,
            "decoder_sequence_length": decoder_sequence_length,
        }
        lengths = {name: value if value is None else whole(name, value) for name, value in lengths.items()}
        super().__init__(tokenizer, **lengths, **options)
        self.max_extra_length = whole("max_extra_length", max_extra_length, 0)

    def build(self, input_shape):
        self.built = True  # there are no packers

    def call(
        self,
        x,
        y=None,
        sample_weight=None,
        *,
        encoder_sequence_length=None,
        decoder_sequence_length=None,
        sequence_length=None,
    ):
        """The inputs of the model, the labels and their weights.

        Args:
            x: a dictionary of "encoder_text" and "decoder_text", strings or lists of strings.
            y, sample_weight: not used; `fit` passes them.
            encoder_sequence_length, decoder_sequence_length: in place of the constructor's.
            sequence_length: the same as `decoder_sequence_length`.
        """
        encoder_length = encoder_sequence_length or self.encoder_sequence_length
        decoder_length = decoder_sequence_length or sequence_length or self.decoder_sequence_length
        try:
            texts, is_single = _read(x, ("encoder_text", "decoder_text"))
            source = _pack(_closed(self._ids(texts, "encoder_text")), "encoder", encoder_length)
            targets = self._ids(texts, "decoder_text")
            target = _pack(_begun(targets), "decoder", decoder_length)
        except (TypeError, ValueError) as error:
            raise in_one_line(error) from None
        labels = _pack(_closed(targets), "decoder", decoder_length)
        inputs = {**_inputs("encoder", *source), **_inputs("decoder", *target)}
        return keras.utils.pack_x_y_sample_weight(*_given((inputs, *labels), is_single))

    def generate_preprocess(
        self, x, *, encoder_sequence_length=None, decoder_sequence_length=None, sequence_length=None
    ):
        """The inputs of `generate`: those of the model, and "decoder_limits" (B,), the most tokens after START.

        A blank source has the limit 0, so that its translation is empty.

        Args:
            x: sources, a string or a list of strings; or a dictionary of "encoder_text" and "decoder_text", where the
                decoder's texts are beginnings of the translations.
            The others: see `call`.
        """
        encoder_length = encoder_sequence_length or self.encoder_sequence_length
        decoder_length = decoder_sequence_length or sequence_length or self.decoder_sequence_length
        x = x if isinstance(x, dict) else {"encoder_text": x}
        texts, is_single = _read(x, ("encoder_text", "decoder_text") if "decoder_text" in x else ("encoder_text",))
        sources = _closed(self._ids(texts, "encoder_text"))
        prompts = _begun(self._ids(texts, "decoder_text") if "decoder_text" in texts else sources[:, :0])
        if decoder_length is None:
            limits = tf.cast(sources.row_lengths(), tf.int32) + self.max_extra_length
            longest = tf.reduce_max(tf.concat([limits, tf.cast(prompts.row_lengths(), tf.int32)], axis=0))
            decoder_length = tf.maximum(longest, 0) + 1
        else:
            limits = tf.fill([sources.nrows(out_type=tf.int32)], decoder_length - 1)
        limits = tf.where(tf.strings.regex_full_match(texts["encoder_text"], BLANK), 0, limits)
        source, prompt = _pack(sources, "encoder", encoder_length), _pack(prompts, "decoder", decoder_length)
        inputs = {**_inputs("encoder", *source), **_inputs("decoder", *prompt), "decoder_limits": limits}
        return _given(inputs, is_single)

    def generate_postprocess(self, x):
        """The texts of what `generate` made, from "decoder_token_ids" and "decoder_padding_mask"."""
        ids, mask = (tf.convert_to_tensor(_numpy(x[f"decoder_{name}"])) for name in ("token_ids", "padding_mask"))
        return self.tokenizer.detokenize(tf.where(tf.cast(mask, tf.bool), ids, PAD))

    def get_config(self):
        lengths = ("encoder_sequence_length", "decoder_sequence_length", "max_extra_length")
        return {**super().get_config(), **{name: getattr(self, name) for name in lengths}}

    def _ids(self, texts, name):
        """The ids of the texts of a side: ragged (N, None) int32."""
        return self.tokenizer.tokenize(texts[name], "source" if name == "encoder_text" else "target")


def _read(x, names):
    """The texts of a dictionary as tensors (N,), by name, and whether each was a single string.

    Raises:
        ValueError: a name is missing, or lists of different lengths.
        TypeError: something else than strings. The message names the place.
    """
    if not isinstance(x, dict) or (missing := [name for name in names if name not in x]):
        got = f"one without {missing[0]!r}" if isinstance(x, dict) else type(x).__name__
        raise ValueError(f"x must be a dictionary with 'encoder_text' and 'decoder_text', got {got}.")
    values = {name: _strings(name, x[name]) for name in names}
    is_single = all(value.shape.rank == 0 for value in values.values())
    values = {name: tf.reshape(value, [-1]) for name, value in values.items()}
    sizes = [value.shape[0] for value in values.values()]
    if None not in sizes and len(set(sizes)) > 1:
        raise ValueError(f"encoder_text has {sizes[0]} texts and decoder_text {sizes[1]}. Give as many of each.")
    if 0 in sizes:
        raise ValueError(f"{names[0]} is an empty list. Give at least one text.")
    return values, is_single


def _strings(name, value):
    if tf.is_tensor(value):
        return value
    if isinstance(value, str | bytes):
        check_text(name, value)
        return tf.constant(value)
    if isinstance(value, np.ndarray) and value.size and all(isinstance(each, bytes) for each in value.flat):
        return tf.constant(value, tf.string)  # of a tf.data.Dataset
    return tf.constant(read_texts(name, value), tf.string)


def _begun(rows):
    """Ragged rows with START in front."""
    return tf.concat([_column(rows, START), rows], axis=1)


def _closed(rows):
    """Ragged rows with END behind."""
    return tf.concat([rows, _column(rows, END)], axis=1)


def _column(rows, token):
    """The same id for each row: (N, 1) int32."""
    return tf.fill([rows.nrows(out_type=tf.int32), 1], token)


def _pack(rows, side, length):
    """Ragged rows as a tensor (N, L), padded to `length` or to the longest, and the mask of their tokens.

    Raises:
        ValueError: a row is longer than `length`. In a TensorFlow graph, an InvalidArgumentError.
    """
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    if length is None:
        ids = rows.to_tensor(PAD)
        return ids, tf.sequence_mask(lengths, tf.shape(ids)[1])
    if tf.executing_eagerly():
        for number, found in enumerate(lengths.numpy().tolist()):
            if found > int(length):
                raise ValueError(_too_long(f"{side}_text[{number}] has {found}", side, int(length)))
    message = _too_long(f"a {side}_text has more", side, length if isinstance(length, int) else "the given length")
    with tf.control_dependencies([tf.debugging.assert_less_equal(lengths, length, message)]):
        ids = rows.to_tensor(PAD)
    ids = tf.pad(ids, [[0, 0], [0, length - tf.shape(ids)[1]]], constant_values=PAD)
    fixed = length if isinstance(length, int) else None
    return tf.ensure_shape(ids, [None, fixed]), tf.ensure_shape(tf.sequence_mask(lengths, length), [None, fixed])


def _too_long(start, side, length):
    mark, rule = "END" if side == "encoder" else "START", f"{side}_sequence_length is {length}"
    return f"{start} tokens with {mark}, and {rule}. Nothing is cut off: give more room."


def _inputs(side, ids, mask):
    return {f"{side}_token_ids": ids, f"{side}_padding_mask": mask}


def _given(outputs, is_single):
    """The outputs in the form that the caller needs: without the batch if it gave one text, in the backend's arrays."""

    def convert(x):
        x = x[0] if is_single else x
        to_backend = tf.executing_eagerly() and keras.backend.backend() != "tensorflow"
        return keras.ops.convert_to_tensor(x.numpy()) if to_backend else x

    return keras.tree.map_structure(convert, outputs)


def _numpy(x):
    return keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) and not tf.is_tensor(x) else x
