"""Turns the content of a request into ids for the models: valid, ended by END and not too long."""

import tensorflow as tf

from keras_transformer.ids import END, NUM_RESERVED, PAD, UNK

BYTES_PER_PIECE = 64  # SentencePiece learns pieces of up to 16 characters; a character has up to 4 bytes


def cut_to_valid_utf8(strings, max_length):
    """Make texts valid UTF-8 and cut them to the bytes that `max_length` tokens can have.

    Bytes that are not UTF-8 become U+FFFD. The pieces are cut later, but a text of a million characters could take
    seconds to tokenize. So this function cuts the text first.

    Args:
        strings: any bytes, [B] string.
        max_length: the most tokens that each text will be cut to.

    Returns:
        The texts, [B] string, of at most `BYTES_PER_PIECE` · `max_length` bytes of each string. [B] bool, True where
        bytes were left out.
    """
    max_bytes = BYTES_PER_PIECE * max_length
    is_cut = tf.strings.length(strings) > max_bytes
    texts = tf.strings.unicode_transcode(tf.strings.substr(strings, 0, max_bytes), "UTF-8", "UTF-8", errors="replace")
    # A cut inside a character leaves U+FFFD there.
    return tf.where(is_cut, tf.strings.regex_replace(texts, "\N{REPLACEMENT CHARACTER}+$", ""), texts), is_cut


def end_rows(ids, lengths, max_length):
    """Put END after the pieces of each row, and cut rows that are too long.

    Args:
        ids: (B, S) int32.
        lengths: [B] int, the number of pieces of each row. The ids after them are ignored.
        max_length: the most tokens of a row, END counted.

    Returns:
        (B, L) int32, padded. [B] bool, True where pieces were left out.
    """
    end = tf.minimum(tf.cast(lengths, tf.int32), max_length - 1)[:, None]
    ids = tf.pad(ids, [[0, 0], [0, 1]])
    position = tf.range(tf.shape(ids)[1])[None, :]
    ids = tf.where(position < end, ids, tf.where(position == end, END, PAD))
    return trim_padding(ids), lengths > max_length - 1


def count_pieces(ids, vocabulary_size):
    """The number of pieces before the first END of each row: (B, S) int32 -> [B] int32.

    Raises, when the graph runs:
        InvalidArgumentError: an id before END is not the id of a piece.
    """
    before_end = tf.cumsum(tf.cast(ids == END, tf.int32), axis=1) == 0
    is_piece = (ids == UNK) | ((ids >= NUM_RESERVED) & (ids < vocabulary_size))
    rule = (
        f"source_ids must be {UNK} or from {NUM_RESERVED} to {vocabulary_size - 1} before the first {END} of a row, "
        "which ends the sentence. These are not:"
    )
    wrong = tf.boolean_mask(ids, before_end & ~is_piece)
    with tf.control_dependencies([tf.debugging.Assert(tf.size(wrong) == 0, [rule, wrong])]):
        return tf.reduce_sum(tf.cast(before_end, tf.int32), axis=1)


def trim_padding(ids):
    """Remove the last columns that hold only padding, but keep one column: (B, L) int32 -> (B, L') int32."""
    lengths = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
    return ids[:, : tf.reduce_max(tf.concat([lengths, [1]], axis=0))]
