"""Output map and loss as one function, a chunk of tokens at a time. The logits (B, T, V) never exist as a whole.

`train_step/fused.py` decides when training and evaluation use it.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.backend.gradients import custom_gradient
from keras_transformer.backend.kernels import (
    add_to_columns,
    after,
    in_float32,
    product_with_transposed,
    take_rows,
    transposed_product,
)
from keras_transformer.backend.replicas import batch_devices
from keras_transformer.backend.xla import aligned, on_gpu
from keras_transformer.losses.cross_entropy import likelihood

# Tokens in a chunk. The gradient of the matrix is added up once for each chunk, so smaller chunks are slower.
MOST_TOKENS = 1024
MOST_TOKENS_ON_GPU = 8192  # on each GPU
IMPOSSIBLE = -float("inf")  # the logit of a column that is no piece


class OutputMap(NamedTuple):
    """How a model maps decoder vectors to logits: x·Mᵀ + b."""

    matrix: Any  # M, (V, D): a variable or its value
    bias: Any = None  # b, (V,), or None


class VectorsLoss(NamedTuple):
    """The loss of decoder vectors, and what metrics need to know of each token."""

    loss: Any  # () float32: Σ weight · smoothed cross-entropy
    log_probabilities: Any  # (B, T) float32: log p of each label
    hits: Any  # (B, T) float32: 1.0 where the label is the likeliest piece; () if nobody asked


def loss_of_vectors(vectors, output_map, labels, weights, epsilon, training=False, with_hits=False, in_place=False):
    """Σ weight · smoothed cross-entropy of the logits that `output_map` gives for `vectors`.

    Let x be the vector of a token, M the matrix, b the bias, z = M·x + b, and p = softmax(z). The loss of the token is
    weight · (-log p_label + ε·(z_label - mean z)). Here mean z = x·mean(M) + mean(b) needs no pass over the logits.
    Let q = p - (1-ε)·onehot(label) - ε/V. The gradient is weight · q for z, weight · qᵀ·M for x, and Σ q·(weight·x)ᵀ
    for M, so the weights need no pass over V columns either.

    Args:
        vectors: (B, T, D) in the compute dtype.
        output_map: an `OutputMap`.
        labels: (B, T) int32.
        weights: (B, T) float32.
        epsilon: ε of the label smoothing.
        training: whether the gradient is needed.
        with_hits: whether `hits` are needed.
        in_place: see `add_to_columns`.

    Returns:
        A `VectorsLoss`. Only its loss has a gradient.
    """
    bias = () if output_map.bias is None else (ops.convert_to_tensor(output_map.bias),)
    arguments = (vectors, ops.convert_to_tensor(output_map.matrix), *bias)
    chunks = Chunks(labels, weights, epsilon, with_hits, in_place)
    if training:
        return VectorsLoss(*custom_gradient(chunks.with_gradient)(*arguments))
    return chunks.run(*arguments)[0]


class Chunks:
    """The loop over chunks, with every argument of `loss_of_vectors` that has no gradient."""

    def __init__(self, labels, weights, epsilon, with_hits, in_place):
        self.labels, self.weights, self.epsilon = labels, weights, epsilon
        self.with_hits, self.in_place = with_hits, in_place
        self.largest = ops.maximum(ops.max(weights, initial=0.0), 1e-30)  # the largest weight, but not 0

    def with_gradient(self, vectors, matrix, *bias):
        """A `VectorsLoss`, and the function that gives the gradients, for `custom_gradient`."""
        result, gradients = self.run(vectors, matrix, *bias, training=True)

        def gradient(*args, upstream=None):
            scale = keras.tree.flatten((args, upstream))[0]  # the upstream gradients of the other results are zero
            scales = (scale, scale * self.largest, scale)
            given = zip(gradients, scales, (vectors, matrix, *bias), strict=False)
            return tuple(ops.cast(ops.cast(x, "float32") * y, primal.dtype) for x, y, primal in given)

        return tuple(result), gradient

    def run(self, vectors, matrix, bias=None, training=False):
        """A `VectorsLoss`, and in training the gradients of vectors, matrix and bias, else ().

        The gradient of the matrix must still be multiplied by the largest weight: where all tokens have the same
        weight, as usual, x is then not rounded again.
        """
        length, size = ops.shape(vectors)[1], matrix.shape[0]
        split = _Split.of(ops.shape(vectors)[0] * length)
        x, labels, weights = map(split.into, (vectors, self.labels, self.weights))  # (K, C, ...)
        pieces = _Pieces.of(matrix, bias, vectors.dtype)
        result = VectorsLoss(
            ops.zeros((), "float32"), ops.zeros_like(weights), ops.zeros_like(weights) if self.with_hits else ()
        )
        gradients = ()
        if training:
            # A zero that is known only at run time. TensorFlow would keep a constant (V, D) in the graph.
            zero = ops.minimum(ops.sum(weights), 0.0)
            summed = [each for each in (pieces.matrix, pieces.bias) if each is not None]
            gradients = (ops.zeros_like(x), *(ops.broadcast_to(zero, each.shape) for each in summed))

        def chunk(i, result, gradients):
            i = after((result, gradients), i)  # else TensorFlow computes several chunks at once
            rows = tuple(take_rows(whole, i) for whole in (x, labels, weights))  # (C, D), (C,), (C,)
            result, probabilities = self._add_loss(result, i, pieces, *rows)
            if training:
                gradients = self._add_gradients(gradients, i, pieces, *rows, probabilities, result.loss)
            return i + 1, result, gradients

        start = (ops.zeros((), "int32"), result, gradients)
        _, result, gradients = ops.while_loop(lambda i, *_: i < split.number, chunk, start)
        by_token = [x if isinstance(x, tuple) else split.back(x, length) for x in result[1:]]
        if training:
            of_pieces = (x if pieces.columns == size else x[:size] for x in gradients[1:])
            gradients = (split.back(gradients[0], length), *of_pieces)
        return VectorsLoss(result.loss, *by_token), gradients

    def _add_loss(self, result, i, pieces, x, labels, weights):
        """The result with chunk number i, and the probabilities (C, V)."""
        logits, mean_logits = pieces.logits(x)
        probabilities, label_logits, log_probabilities = likelihood(logits, labels[:, None])
        losses = -log_probabilities + self.epsilon * (label_logits - mean_logits)
        hits = ()
        if self.with_hits:
            likeliest = ops.cast(ops.argmax(logits, axis=-1), "int32")
            hits = _with_row(result.hits, i, ops.cast(ops.equal(likeliest, labels), "float32"))
        loss = result.loss + ops.sum(losses * weights)
        return VectorsLoss(loss, _with_row(result.log_probabilities, i, log_probabilities), hits), probabilities

    def _add_gradients(self, gradients, i, pieces, x, labels, weights, probabilities, loss):
        """The gradients with those of chunk number i."""
        # The loss no longer needs the probabilities, so q may use their memory.
        smoothing = after(loss, ops.full((), self.epsilon / pieces.size, "float32"))
        q = pieces.only_pieces(probabilities - smoothing, 0.0)
        at_labels = ops.full_like(weights, self.epsilon - 1)
        q = ops.cast(add_to_columns(q, labels, at_labels, self.in_place), x.dtype)
        to_x = ops.cast(ops.cast(ops.matmul(q, pieces.matrix), "float32") * weights[:, None], x.dtype)
        weighted = ops.cast(ops.cast(x, "float32") * (weights / self.largest)[:, None], x.dtype)
        to_matrix = transposed_product(q, weighted)  # (V, D)
        to_bias = ()
        if pieces.bias is not None:
            to_bias = (gradients[2] + ops.matmul(weights, ops.cast(q, "float32")),)
        return _with_row(gradients[0], i, to_x), gradients[1] + to_matrix, *to_bias


class _Pieces(NamedTuple):
    """The output map as the loop reads it. On a GPU it has more columns than pieces, for faster products."""

    matrix: Any  # (V', D) in the compute dtype
    bias: Any  # (V',) float32, or None
    mean: Any  # (D,) float32, the mean of the matrix over the pieces
    mean_bias: Any  # () float32, or None
    size: int  # V
    columns: int  # V'

    @classmethod
    def of(cls, matrix, bias, dtype):
        mean = ops.mean(ops.cast(matrix, "float32"), axis=0)
        bias = None if bias is None else ops.cast(bias, "float32")
        mean_bias = None if bias is None else ops.mean(bias)
        matrix, size, columns = ops.cast(matrix, dtype), matrix.shape[0], aligned(matrix.shape[0])
        if columns > size:
            matrix = ops.pad(matrix, ((0, columns - size), (0, 0)))
            bias = None if bias is None else ops.pad(bias, (0, columns - size))
        return cls(matrix, bias, mean, mean_bias, size, columns)

    def logits(self, x):
        """The logits (C, V') of vectors (C, D), and their means (C,); float32."""
        logits = in_float32(product_with_transposed(x, self.matrix))
        means = ops.matmul(ops.cast(x, "float32"), self.mean)
        if self.bias is not None:
            logits, means = logits + self.bias, means + self.mean_bias
        return self.only_pieces(logits, IMPOSSIBLE), means

    def only_pieces(self, x, otherwise):
        """`x` (C, V'), with `otherwise` in the columns that are no piece."""
        return (
            x
            if self.columns == self.size
            else ops.where(ops.arange(self.columns, dtype="int32") < self.size, x, otherwise)
        )


class _Split(NamedTuple):
    """Tokens as chunks. A chunk takes every K-th token, so that devices that share a batch share each chunk."""

    count: Any  # B·T
    number: Any  # K
    rows: Any  # C, at least B·T / K

    @classmethod
    def of(cls, count):
        number = count // (MOST_TOKENS_ON_GPU * batch_devices() if on_gpu() else MOST_TOKENS) + 1
        return cls(count, number, aligned(count // number + 1))  # a replica without tokens has a row of padding

    def into(self, x):
        """(B, T, ...) -> (K, C, ...), padded with zeros."""
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
