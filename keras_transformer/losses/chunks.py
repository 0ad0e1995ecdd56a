"""Output map and loss as one function, a chunk of tokens at a time: logits (B, T, V) and their gradient never whole.

Training and validation go this way where loss and metrics are ours, which `TokenTraining.logits_left_out` decides. The
model then gives the vectors (B, T, D) before its output map, the loss maps them, and the metrics read what it found.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.backend.kernels import (
    add_to_columns,
    after,
    in_float32,
    product_with_transposed,
    take_rows,
    transposed_product,
)
from keras_transformer.backend.replicas import batch_devices
from keras_transformer.backend.scoped import Scoped
from keras_transformer.backend.xla import aligned, on_gpu
from keras_transformer.losses.cross_entropy import likelihood

# Tokens at a time: half of them cost 8 % of the time of output map and loss at the paper's size (measured), as the
# gradient of the matrix is added up once for each chunk.
MOST_TOKENS = 1024
MOST_TOKENS_ON_GPU = 8192  # of each; there 1,024 cost 60 % more than all 25,000 at once, these 7 %
IMPOSSIBLE = -float("inf")  # a logit of no piece


class Judged(NamedTuple):
    """What a model makes of labels."""

    loss: Any  # () float32: Σ weight · smoothed cross-entropy
    log_probabilities: Any  # (B, T) float32: log p of each label
    hits: Any  # (B, T) float32: 1.0 where the label is the likeliest piece; or () if nobody asked


class OutputMap:
    """What a loss needs for mapping vectors to logits itself.

    Args:
        matrix: the variable (V, D), or its value.
        bias: the variable (V,), or None.
        dtype: the compute dtype.
        training: whether the gradient is wanted.
        hits: whether a metric asks which labels are the likeliest.

    Attributes:
        judged: `Judged`, once the loss is known.
    """

    def __init__(self, matrix, bias, dtype, training, hits):
        self.matrix, self.bias, self.dtype, self.training, self.hits = matrix, bias, dtype, training, hits
        self.judged = None

    def judge(self, vectors, labels, weights, epsilon):
        """The loss Σ weight · smoothed cross-entropy of the output map's logits.

        Args:
            vectors: (B, T, D).
            labels: (B, T) int32.
            weights: (B, T) float32.
            epsilon: ε of the label smoothing.

        Returns:
            A float32 scalar; `judged` says more.
        """
        bias = () if self.bias is None else (ops.convert_to_tensor(self.bias),)
        arguments = (ops.cast(vectors, self.dtype), ops.convert_to_tensor(self.matrix), *bias)
        chunks = Chunks(labels, weights, epsilon, self.hits)
        if self.training:
            self.judged = Judged(*ops.custom_gradient(chunks.with_gradient)(*arguments))
        else:
            self.judged = chunks.judge(*arguments)[0]
        return self.judged.loss


_output_map = Scoped("output_map", None)


def output_map_of_the_loss():
    """The `OutputMap` by which the loss maps vectors itself; None where the model's output are logits."""
    return _output_map.get()


def logits_left_to(output_map):
    """Inside it a model gives vectors (B, T, D) instead of logits, and the loss maps them by an `OutputMap`."""
    return _output_map.set_to(output_map)


class Chunks:
    """The loss and its gradient, with everything that is not differentiated.

    For a token's vector x, the matrix M and the bias b: logits z = M·x + b, p = softmax(z), and the loss is
    weight · (-log p_label + ε·(z_label - mean z)), where mean z = x·mean(M) + mean(b) takes no pass over the logits.
    With q = p - (1-ε)·onehot(label) - ε/V the gradient towards z is weight · q, towards x weight · qᵀ·M, towards M
    Σ q·(weight·x)ᵀ: the weights, too, take no pass over V columns.

    Args: as of `OutputMap.judge`.
    """

    def __init__(self, labels, weights, epsilon, hits):
        self.labels, self.weights, self.epsilon, self.hits = labels, weights, epsilon, hits
        self.largest = ops.maximum(ops.max(weights, initial=0.0), 1e-30)  # weight, but not 0

    def with_gradient(self, vectors, matrix, *bias):
        """`Judged`, and the function that gives the gradients towards these, for `ops.custom_gradient`."""
        judged, towards = self.judge(vectors, matrix, *bias, training=True)

        def gradient(*args, upstream=None):
            scale = keras.tree.flatten((args, upstream))[0]  # the others are of single tokens' values: zeros
            scaled = zip(towards, (scale, scale * self.largest, scale), (vectors, matrix, *bias), strict=False)
            return tuple(ops.cast(ops.cast(x, "float32") * y, primal.dtype) for x, y, primal in scaled)

        return tuple(judged), gradient

    def judge(self, vectors, matrix, bias=None, training=False):
        """`Judged`, and the gradients towards vectors, matrix and bias, if there is one; () unless training.

        That towards the matrix is still to be multiplied with the largest weight: where all tokens weigh the same, as
        ever, x needs no rounding to be weighed.
        """
        length, size = ops.shape(vectors)[1], matrix.shape[0]
        count = ops.shape(vectors)[0] * length
        number = count // (MOST_TOKENS_ON_GPU * batch_devices() if on_gpu() else MOST_TOKENS) + 1  # K
        rows = aligned(count // number + 1)  # C: all tokens fit, and a replica without rows has one of padding
        split = _Split(count, number, rows)
        x, labels, weights = map(split.into, (vectors, self.labels, self.weights))  # (K, C, ...)
        mean = ops.mean(ops.cast(matrix, "float32"), axis=0)  # (D,)
        bias = None if bias is None else ops.cast(bias, "float32")
        mean_bias = None if bias is None else ops.mean(bias)
        narrow = ops.cast(matrix, vectors.dtype)
        columns = aligned(size)  # V here
        if columns > size:
            narrow = ops.pad(narrow, ((0, columns - size), (0, 0)))
            bias = None if bias is None else ops.pad(bias, (0, columns - size))

        def among_pieces(x, otherwise):
            """`x` (C, V), but `otherwise` in the columns of no piece."""
            return x if columns == size else ops.where(ops.arange(columns) < size, x, otherwise)

        found = Judged(ops.zeros(()), ops.zeros_like(weights), ops.zeros_like(weights) if self.hits else ())
        towards = ()
        if training:
            # Known at run time alone: TensorFlow would keep a constant of the matrix' size in the graph.
            zero = ops.minimum(ops.sum(weights), 0.0)
            towards = (ops.zeros_like(x), *(ops.broadcast_to(zero, y.shape) for y in (narrow, bias) if y is not None))

        def one(i, found, towards):
            i = after((found, towards), i)  # or TensorFlow would begin the next chunk beside this one
            part, label, weight = (take_rows(whole, i) for whole in (x, labels, weights))  # (C, D), (C,), (C,)
            logits = in_float32(product_with_transposed(part, narrow))  # (C, V)
            center = ops.matmul(ops.cast(part, "float32"), mean)
            if bias is not None:
                logits, center = logits + bias, center + mean_bias
            logits = among_pieces(logits, IMPOSSIBLE)
            probabilities, label_logits, logs = likelihood(logits, label[:, None])
            losses = -logs + self.epsilon * (label_logits - center)
            hits = ()
            if self.hits:
                best = ops.cast(ops.argmax(logits, axis=-1), "int32")
                hits = _with_row(found.hits, i, ops.cast(ops.equal(best, label), "float32"))
            total = found.loss + ops.sum(losses * weight)
            if training:
                # Nobody else reads the probabilities any more: q takes their place.
                q = among_pieces(probabilities - after(total, ops.full((), self.epsilon / size)), 0.0)
                q = ops.cast(add_to_columns(q, label, ops.full_like(weight, self.epsilon - 1)), part.dtype)
                to_x = ops.cast(ops.cast(ops.matmul(q, narrow), "float32") * weight[:, None], part.dtype)
                weighed = ops.cast(ops.cast(part, "float32") * (weight / self.largest)[:, None], part.dtype)
                to_matrix = transposed_product(q, weighed)  # (V, D)
                to_bias = () if bias is None else (towards[2] + ops.matmul(weight, ops.cast(q, "float32")),)
                towards = (_with_row(towards[0], i, to_x), towards[1] + to_matrix, *to_bias)
            return i + 1, Judged(total, _with_row(found.log_probabilities, i, logs), hits), towards

        start = (ops.zeros((), "int32"), found, towards)
        _, found, towards = ops.while_loop(lambda i, *_: i < number, one, start)
        tokens = [x if isinstance(x, tuple) else split.back(x, length) for x in found[1:]]
        if training:
            of_pieces = (x if columns == size else x[:size] for x in towards[1:])
            towards = (split.back(towards[0], length), *of_pieces)
        return Judged(found.loss, *tokens), towards


class _Split(NamedTuple):
    """Tokens as chunks: every K-th to one, so that where devices share the rows of a batch, each shares each chunk."""

    count: Any  # B·T
    number: Any  # K
    rows: Any  # C, at least B·T / K

    def into(self, x):
        """(B, T, ...) -> (K, C, ...), filled up with zeros."""
        shape = x.shape[2:]
        flat = ops.reshape(x, (-1, *shape))
        flat = ops.pad(flat, ((0, self.number * self.rows - self.count), *((0, 0) for _ in shape)))
        return ops.swapaxes(ops.reshape(flat, (self.rows, self.number, *shape)), 0, 1)

    def back(self, x, length):
        """(K, C, ...) -> (B, T, ...)."""
        shape = x.shape[2:]
        flat = ops.reshape(ops.swapaxes(x, 0, 1), (-1, *shape))[: self.count]
        return ops.reshape(flat, (-1, length, *shape))


def _with_row(x, i, row):
    """`x` (K, ...) with `row` (...) at i."""
    return ops.scatter_update(x, ops.reshape(i, (1, 1)), row[None])
