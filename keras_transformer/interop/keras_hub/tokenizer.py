"""A `Tokenizer` or a `TokenizerPair` as a tokenizer of keras-hub."""

import keras
import keras_hub
import tensorflow as tf

from keras_transformer.ids import END, PAD, START
from keras_transformer.inputs.tokenizers import (
    PAIR_FILES,
    TOKENIZER_FILE,
    check_tokenizer,
    is_pair,
    save_tokenizer,
    side_of,
)
from keras_transformer.interop.keras_hub.backbone import TransformerBackbone
from keras_transformer.text.pair import read_tokenizer


@keras.saving.register_keras_serializable(package="keras_transformer")
class TransformerTokenizer(keras_hub.tokenizers.Tokenizer):
    """A `Tokenizer`, or a `TokenizerPair`, with the interface of keras-hub's tokenizers.

    A call, or `tokenize`, gives the ids of texts without START and END. `detokenize` gives the text of ids of the
    target. Of a pair, `vocabulary_size()`, `get_vocabulary()`, `id_to_token(id)` and `token_to_id(token)` speak of the
    target, whose pieces are generated. `start_token_id` is 2, `end_token_id` 3 and `pad_token_id` 0.

    Example:
        ```python
        from keras_transformer import Tokenizer
        from keras_transformer.interop.keras_hub import TransformerTokenizer

        tokenizer = TransformerTokenizer(Tokenizer.train(["the cat sat", "the dog sat"], vocabulary_size=280))
        ids = tokenizer(["the cat", "the dog sat"])
        assert tokenizer.detokenize(ids) == ["the cat", "the dog sat"]
        ```

    Args:
        tokenizer: a `Tokenizer` or a `TokenizerPair`. None leaves it open until `load_assets`.
        two_vocabularies: whether it is a pair. None finds out from `tokenizer`.
        **options: those of a Keras layer.

    Attributes:
        tokenizer: the `Tokenizer` or `TokenizerPair`.

    Raises:
        TypeError: `tokenizer` is neither.
    """

    backbone_cls = TransformerBackbone

    def __init__(self, tokenizer=None, two_vocabularies=None, dtype="int32", **options):
        super().__init__(dtype=dtype, **options)
        if tokenizer is not None:
            check_tokenizer(tokenizer, "TransformerTokenizer(tokenizer)")
            two_vocabularies = is_pair(tokenizer)
        self.tokenizer, self.two_vocabularies = tokenizer, bool(two_vocabularies)
        self.start_token_id, self.end_token_id, self.pad_token_id = START, END, PAD
        self.file_assets = list(PAIR_FILES.values()) if self.two_vocabularies else [TOKENIZER_FILE]

    @property
    def special_token_ids(self):
        """The ids that mark the ends of a text and padding."""
        return [PAD, START, END]

    @property
    def special_tokens(self):
        """The names of these pieces."""
        return self._target().pieces(self.special_token_ids)

    def tokenize(self, inputs, side="source"):
        """Texts of a side to ids: a string -> (L,) int32, strings (N,) -> ragged (N, None) int32."""
        texts = tf.convert_to_tensor(inputs, tf.string)
        rows = self._given().tokenize(tf.reshape(texts, [-1]), side)
        return rows[0] if texts.shape.rank == 0 else rows

    def detokenize(self, inputs):
        """Ids of the target to text: (L,) -> a string, (N, L) or ragged (N, None) -> a list of strings.

        Inside a TensorFlow graph, the texts are tensors.
        """
        if tf.executing_eagerly():
            is_other = keras.ops.is_tensor(inputs) and not tf.is_tensor(inputs)  # an array of JAX or torch
            return self._given().decode(keras.ops.convert_to_numpy(inputs) if is_other else inputs)
        ids = inputs if isinstance(inputs, tf.RaggedTensor) else tf.convert_to_tensor(inputs)
        return self._given().detokenize(ids[None])[0] if ids.shape.rank == 1 else self._given().detokenize(ids)

    def vocabulary_size(self):
        """How many pieces the target has."""
        return self._target().vocabulary_size

    def get_vocabulary(self):
        """The target's pieces, in the order of their ids."""
        return self._target().pieces(range(self.vocabulary_size()))

    def id_to_token(self, id):
        """The target's piece of an id."""
        return self._target().pieces([id])[0]

    def token_to_id(self, token):
        """The id of a piece of the target.

        Raises:
            ValueError: there is no such piece.
        """
        try:
            return self.get_vocabulary().index(token)
        except ValueError:
            raise ValueError(f"token={token!r} is no piece of the tokenizer.") from None

    def save_assets(self, directory):
        """Write the tokenizer's files into a folder."""
        save_tokenizer(self._given(), directory, overwrite=True)

    def load_assets(self, directory):
        """Read the tokenizer's files from a folder."""
        self.tokenizer = read_tokenizer(directory)

    def get_config(self):
        return {**super().get_config(), "two_vocabularies": self.two_vocabularies}

    def _given(self):
        if self.tokenizer is None:
            raise ValueError("the TransformerTokenizer has no tokenizer yet. Give it one, or call load_assets(folder).")
        return self.tokenizer

    def _target(self):
        return side_of(self._given(), "target")
