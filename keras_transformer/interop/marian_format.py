"""The folder of a Marian model of Hugging Face transformers: its files, its values, and the names of its tensors."""

from keras_transformer.interop.mapping import linear, norm
from keras_transformer.interop.tensors import SAFETENSORS

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
VOCABULARY = "vocab.json"
MODELS = {"source": "source.spm", "target": "target.spm"}  # the SentencePiece model of each side
FILES = {CONFIG, GENERATION, TOKENIZER, VOCABULARY, *MODELS.values(), SAFETENSORS}  # all that we write

ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}
LAYER_NORM_EPSILON = 1e-5
# The values that a configuration must have. Other models of this family have other values, but no Marian model does.
FIXED = {
    "model_type": "marian",
    "is_encoder_decoder": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "static_position_embeddings": True,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "encoder_layerdrop": 0,
    "decoder_layerdrop": 0,
}
# Pairs of values that must be equal here. transformers allows them to differ.
EQUAL = (
    ("encoder_attention_heads", "decoder_attention_heads"),
    ("vocab_size", "decoder_vocab_size"),
)
SIZES = (
    "vocab_size",
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "encoder_attention_heads",
)
RATES = {"dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0}  # the defaults of transformers
PIECES = {"eos_token_id": "</s>", "pad_token_id": "<pad>"}
UNKNOWN = "<unk>"

SHARED = "model.shared.weight"
COPIES = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
LOGITS_BIAS = "final_logits_bias"


def attention(theirs, ours):
    """The rows of a table for an attention and its layer normalization."""
    projections = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
    rows = [linear(f"{theirs}.{a}", f"{ours}.{b}_projection") for a, b in projections.items()]
    return [row for pair in rows for row in pair] + norm(f"{theirs}_layer_norm", f"{ours}_residual.layer_norm")


FEED_FORWARD = [
    *linear("fc1", "feed_forward.inner"),
    *linear("fc2", "feed_forward.outer"),
    *norm("final_layer_norm", "feed_forward_residual.layer_norm"),
]
# The rows of a table for one layer, see `assign`.
LAYER = {
    "encoder": [*attention("self_attn", "self_attention"), *FEED_FORWARD],
    "decoder": [
        *attention("self_attn", "self_attention"),
        *attention("encoder_attn", "memory_attention"),
        *FEED_FORWARD,
    ],
}

# A Marian model usually starts with pad. Then START has a copy of pad's embedding, and its logit is that of pad minus
# this number. So the softmax gives START almost no probability, and yet label smoothing adds little to the loss.
START_BELOW_PAD = 100.0


def layers_table(config):
    """The rows of a table for all layers of a configuration, see `assign`."""
    table = []
    for side, rows in LAYER.items():
        for i in range(config[f"{side}_layers"]):
            table += [(f"model.{side}.layers.{i}.{a}", f"{side}.layers.{i}.{b}", change) for a, b, change in rows]
    return table
