"""What a request holds, made into ids that the models can take: valid, closed by END and not too long."""

import tensorflow as tf

from keras_transformer.ids import END, NUM_RESERVED, PAD, UNK

BYTES_A_PIECE = 64  # SentencePiece learns pieces of up to 16 characters, a character has up to 4 bytes


def readable(strings, max_length):
    """Text that is valid UTF-8 and not absurdly long for `max_length` tokens.

    Bytes that are no UTF-8 become U+FFFD. Cutting pieces would be enough, but to find those of a text
    of a million characters may take seconds.

    Args:
        strings: any bytes, [B] string.
        max_length: how many tokens they will be cut to.

    Returns:
        [B] string, at most `BYTES_A_PIECE` · `max_length` bytes read of each; [B] bool, True where more were there.
    """
    most = BYTES_A_PIECE * max_length
    cut = tf.strings.length(strings) > most
    texts = tf.strings.unicode_transcode(tf.strings.substr(strings, 0, most), "UTF-8", "UTF-8", errors="replace")
    # A cut inside a character leaves U+FFFD in its place.
    return tf.where(cut, tf.strings.regex_replace(texts, "\N{REPLACEMENT CHARACTER}+$", ""), texts), cut


def closed(ids, lengths, max_length):
    """Pieces closed by END, as many as may be.

    Args:
        ids: (B, S) int32.
        lengths: [B] int, how many of a row are its pieces; what follows does not count.
        max_length: the most tokens of a row, END counted.

    Returns:
        (B, L) int32, padded; [B] bool, True where pieces were left out.
    """
    end = tf.minimum(tf.cast(lengths, tf.int32), max_length - 1)[:, None]
    ids = tf.pad(ids, [[0, 0], [0, 1]])
    at = tf.range(tf.shape(ids)[1])[None, :]
    return trimmed(tf.where(at < end, ids, tf.where(at == end, END, PAD))), lengths > max_length - 1


def pieces_of(ids, vocabulary_size):
    """How many pieces each row has before its first END: (B, S) int32 -> [B] int32.

    Raises, when the graph runs:
        InvalidArgumentError: an id before END that is no piece of a text.
    """
    before_end = tf.cumsum(tf.cast(ids == END, tf.int32), axis=1) == 0
    is_piece = (ids == UNK) | ((ids >= NUM_RESERVED) & (ids < vocabulary_size))
    rule = (
        f"source_ids must be {UNK} or from {NUM_RESERVED} to {vocabulary_size - 1} up to a row's first {END}, "
        "the end of its sentence; found"
    )
    wrong = tf.boolean_mask(ids, before_end & ~is_piece)
    with tf.control_dependencies([tf.debugging.Assert(tf.size(wrong) == 0, [rule, wrong])]):
        return tf.reduce_sum(tf.cast(before_end, tf.int32), axis=1)


def trimmed(ids):
    """Without columns of padding alone at the end; one is left: (B, L) int32 -> (B, L') int32."""
    lengths = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
    return ids[:, : tf.reduce_max(tf.concat([lengths, [1]], axis=0))]
