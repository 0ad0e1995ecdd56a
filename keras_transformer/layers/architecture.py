"""The arguments of `Transformer` that say its architecture, checked together."""

from keras_transformer.layers.arguments import choice, plain
from keras_transformer.layers.positions import POSITION_KINDS
from keras_transformer.layers.residual import NORM_PLACES

TIES = ("all", "target", "none")

# The constructor's arguments that say how the layers of both stacks are made, and all that say the architecture.
LAYER_OPTIONS = (
    "num_heads",
    "d_ff",
    "d_k",
    "d_v",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "activation",
    "norm",
    "use_bias",
    "layer_norm_epsilon",
    "window",
)
CONFIG = (
    "vocabulary_size",
    "target_vocabulary_size",
    "num_encoder_layers",
    "num_decoder_layers",
    "d_model",
    "decoder_d_ff",
    *LAYER_OPTIONS,
    "positions",
    "max_length",
    "tie_embeddings",
    "scale_embeddings",
    "output_bias",
)
WORDS = ("activation", "norm", "positions", "tie_embeddings")  # the arguments that are no numbers


def plain_config(config):
    """The architecture in plain Python values, with the defaults that depend on others.

    Raises:
        ValueError: an argument of another kind or range, or arguments that do not fit together.
    """
    words = {"positions": POSITION_KINDS, "norm": NORM_PLACES, "tie_embeddings": TIES}
    words = {name: choice(name, config[name], choices) for name, choices in words.items()}
    others = {name: value for name, value in config.items() if name not in WORDS}
    config = {**config, **words, **dict(zip(others, plain(**others), strict=True))}
    plain(activation=config["activation"])
    if config["target_vocabulary_size"] is None:
        config["target_vocabulary_size"] = config["vocabulary_size"]
    heads, d_model = config["num_heads"], config["d_model"]
    if config["d_k"] is None and d_model % heads:
        raise ValueError(
            f"num_heads={heads} does not divide d_model={d_model}. Choose a divisor, or give d_k (and d_v) explicitly."
        )
    size, target_size = config["vocabulary_size"], config["target_vocabulary_size"]
    if config["tie_embeddings"] == "all" and target_size != size:
        raise ValueError(
            f"tie_embeddings='all' needs one vocabulary, got vocabulary_size={size} and "
            f"target_vocabulary_size={target_size}. Choose 'target' or 'none'."
        )
    return config
