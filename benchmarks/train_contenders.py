"""The models that `train_step.py` trains. Each maker returns a function that does one update.

Every contender has the same sizes, one embedding matrix for source, target and output, padding and causal masks, and
Adam. Dropout is where the paper has it or where the toolkit has it. Besides, a contender does as little as its
toolkit allows.
"""

import contextlib
from functools import partial
from typing import NamedTuple

import numpy as np
from marian_model import START, marian_model
from products import there_and_back, update_shapes

SEED, SMOOTHING, RATE = 1, 0.1, 1e-4


class Case(NamedTuple):
    """A model and the size of its batches."""

    preset: str
    vocabulary_size: int
    rows: int  # B
    length: int  # S = T
    dtype: str  # "float32", or "bfloat16" for mixed precision: variables stay float32
    threads: int
    sizes: dict  # the arguments of the preset

    @property
    def tokens(self):
        """Target tokens of an update."""
        return self.rows * self.length

    @property
    def policy(self):
        return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[self.dtype]


def batch(case):
    """Return random ids (B, S), (B, T), (B, T): source, decoder input and labels. There is no padding."""
    rng = np.random.default_rng(SEED)
    source, labels = rng.integers(4, case.vocabulary_size, (2, case.rows, case.length)).astype("int32")
    shifted = np.concatenate([np.full((case.rows, 1), START, "int32"), labels[:, :-1]], axis=1)
    return source, shifted, labels


def weights_flop(case):
    """Return the operations of one update with the weights: 6 for each weight and token.

    That is 2, a multiplication and an addition, times 3, the product and its two gradients.
    """
    return 6 * case.tokens * sum(rows * columns for rows, columns in update_shapes(case.sizes, case.vocabulary_size))


def flop(case):
    """Return the operations of one update with the weights and in attention, which has 12·D for each score."""
    sizes = case.sizes
    scores = (sizes["num_encoder_layers"] + 2 * sizes["num_decoder_layers"]) * case.tokens * case.length
    return weights_flop(case) + 12 * sizes["d_model"] * scores


def keras_step(model, loss, case, jit, **options):
    """Return a function that does one update as `fit` does it, always on the same batch. Options are for `compile`."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(RATE, beta_2=0.98, epsilon=1e-9)
    model.compile(optimizer, loss=loss, jit_compile=jit, **options)
    source, target, labels = batch(case)
    dataset = tf.data.Dataset.from_tensors(({"source": source, "target": target}, labels)).cache().repeat()
    model.make_train_function()
    batches = iter(dataset)
    return lambda: float(model.train_function(batches)["loss"])


def limit_tensorflow(case):
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    tf.config.threading.set_inter_op_parallelism_threads(case.threads)
    keras.utils.set_random_seed(SEED)


def ours(case, jit=False):
    """Return an update of this package."""
    limit_tensorflow(case)
    from keras_transformer import LabelSmoothedCrossEntropy, Transformer

    model = Transformer.from_preset(case.preset, vocabulary_size=case.vocabulary_size, dtype=case.policy)
    return keras_step(model, LabelSmoothedCrossEntropy(SMOOTHING), case, jit)


def keras_hub(case, jit=False):
    """Return an update of keras-hub's layers, without label smoothing.

    Keras smooths only dense targets, and those take more time and memory.
    """
    limit_tensorflow(case)
    import keras
    from keras_hub import layers

    keras.config.set_dtype_policy(case.policy)
    sizes = case.sizes
    embedding = layers.ReversibleEmbedding(case.vocabulary_size, sizes["d_model"])
    options = {"intermediate_dim": sizes["d_ff"], "num_heads": sizes["num_heads"], "dropout": sizes["dropout"]}

    def embed(ids):
        x = embedding(ids)
        x = x * sizes["d_model"] ** 0.5 + layers.SinePositionEncoding()(x)
        return keras.layers.Dropout(sizes["dropout"])(x)

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    memory, x = embed(source), embed(target)
    mask, memory_mask = (keras.ops.not_equal(ids, 0) for ids in (target, source))
    for _ in range(sizes["num_encoder_layers"]):
        memory = layers.TransformerEncoder(**options)(memory, padding_mask=memory_mask)
    for _ in range(sizes["num_decoder_layers"]):
        x = layers.TransformerDecoder(**options)(x, memory, decoder_padding_mask=mask, encoder_padding_mask=memory_mask)
    model = keras.Model({"source": source, "target": target}, embedding(x, reverse=True))
    return keras_step(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), case, jit)


def torch_ids(case, device="cpu"):
    import torch

    return [torch.tensor(ids.astype("int64"), device=device) for ids in batch(case)]


def torch_step(model, forward, case, device="cpu"):
    """Return an update by PyTorch. `forward()` computes the loss; for bfloat16 it runs under autocast."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9, fused=True)
    model.train()

    def step():
        half = torch.autocast(device, torch.bfloat16) if case.dtype == "bfloat16" else contextlib.nullcontext()
        with half:
            loss = forward()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def limit_torch(case):
    import torch

    torch.set_num_threads(case.threads)
    torch.manual_seed(SEED)


def torch_transformer(case, compiled=False, device="cpu"):
    """Return an update of torch.nn.Transformer with added embeddings, positions and output map."""
    import math

    import torch

    limit_torch(case)
    sizes = case.sizes

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            width = sizes["d_model"]
            self.embedding = torch.nn.Embedding(case.vocabulary_size, width)
            torch.nn.init.normal_(self.embedding.weight, std=width**-0.5)
            self.core = torch.nn.Transformer(
                width,
                sizes["num_heads"],
                sizes["num_encoder_layers"],
                sizes["num_decoder_layers"],
                sizes["d_ff"],
                sizes["dropout"],
                batch_first=True,
            )
            self.dropout = torch.nn.Dropout(sizes["dropout"])
            angles = torch.arange(case.length)[:, None] * torch.exp(
                torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
            )
            self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], -1).reshape(-1, width))
            self.register_buffer("later", torch.ones(case.length, case.length, dtype=torch.bool).triu(1))

        def embed(self, ids):
            return self.dropout(self.embedding(ids) * sizes["d_model"] ** 0.5 + self.positions)

        def forward(self, source, target):
            padding = source == 0
            x = self.core(
                self.embed(source),
                self.embed(target),
                tgt_mask=self.later,
                src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
                tgt_is_causal=True,
            )
            return x @ self.embedding.weight.T

    model = Model().to(device)
    source, target, labels = torch_ids(case, device)

    def forward():
        logits = model(source, target)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=0, label_smoothing=SMOOTHING
        )

    return torch_step(model, torch.compile(forward) if compiled else forward, case, device)


def marian(case):
    """Return an update of Hugging Face's MarianMTModel, which runs on PyTorch."""
    import torch

    limit_torch(case)
    options = {"dropout": case.sizes["dropout"], "scale_embedding": True, "use_cache": False}
    model = marian_model(case.sizes, case.vocabulary_size, **options)
    source, target, labels = torch_ids(case)

    def forward():
        logits = model(input_ids=source, attention_mask=source != 0, decoder_input_ids=target).logits
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=0, label_smoothing=SMOOTHING
        )

    return torch_step(model, forward, case)


class Vocabulary:
    """The attributes that JoeyNMT's model needs of a vocabulary. JoeyNMT's own takes minutes to fill."""

    pad_index, bos_index, eos_index, unk_index, sep_index = 0, 2, 3, 1, None
    specials, lang_tags = (), ()

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


def joeynmt(case):
    """Return an update of JoeyNMT's model with its loss."""
    import torch
    from joeynmt.model import build_model

    limit_torch(case)
    sizes, vocabulary = case.sizes, Vocabulary(case.vocabulary_size)

    def side(name):
        return {
            "type": "transformer",
            "num_layers": sizes[f"num_{name}_layers"],
            "num_heads": sizes["num_heads"],
            "hidden_size": sizes["d_model"],
            "ff_size": sizes["d_ff"],
            "dropout": sizes["dropout"],
            "layer_norm": "post",
            "embeddings": {"embedding_dim": sizes["d_model"], "scale": True},
        }

    options = {"tied_embeddings": True, "tied_softmax": True, "embed_initializer": "xavier_uniform"}
    model = build_model({"encoder": side("encoder"), "decoder": side("decoder"), **options}, vocabulary, vocabulary)
    model.loss_function = "crossentropy", SMOOTHING
    source, target, labels = torch_ids(case)
    lengths = torch.full((case.rows,), case.length)

    def forward():
        masks = {"src_mask": (source != 0)[:, None], "trg_mask": (labels != 0)[:, None]}
        total, *_ = model("loss", src=source, src_length=lengths, trg_input=target, trg=labels, **masks)
        return total / case.tokens

    return torch_step(model, forward, case)


def products(case):
    """Return a function that does only the products with weights, see `products.py`. It trains nothing."""
    limit_tensorflow(case)
    import tensorflow as tf

    shapes = update_shapes(case.sizes, case.vocabulary_size)
    kernels = [tf.cast(tf.random.normal(shape, stddev=shape[0] ** -0.5), case.dtype) for shape in shapes]
    graph = tf.function(lambda: there_and_back(tf.ones([case.tokens, case.sizes["d_model"]], case.dtype), kernels))
    return lambda: float(graph()[0][0, 0])


CONTENDERS = {
    "ours": ours,
    "ours jit": partial(ours, jit=True),
    "torch": torch_transformer,
    "torch compile": partial(torch_transformer, compiled=True),
    "marian": marian,
    "keras-hub": keras_hub,
    "keras-hub jit": partial(keras_hub, jit=True),
    "joeynmt": joeynmt,
    "products": products,
}
