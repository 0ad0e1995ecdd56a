"""The options of a layer, and the stack of layers: what encoder and decoder share."""

import keras

from keras_transformer.layers.initializers import residual_gain
from keras_transformer.layers.normalization import LayerNormalization
from keras_transformer.layers.residual import check_norm


class LayerOptions(keras.layers.Layer):
    """Base class of `EncoderLayer` and `DecoderLayer`: the options that both take.

    Args:
        num_heads: H.
        d_ff: inner width of the feed-forward network.
        d_k: width of a head's queries and keys. Default: d_model / num_heads.
        d_v: width of a head's values. Default: `d_k`.
        dropout: rate on each sub-layer's output, before the addition (section 5.4).
        attention_dropout: rate on the attention weights. The paper has none.
        activation_dropout: rate inside the feed-forward network. The paper has none.
        activation: the activation of the feed-forward network.
        norm: "post", the paper's LayerNorm(x + Sublayer(x)), or "pre".
        use_bias: whether the attention's projections have biases. The paper has none.
        layer_norm_epsilon: added to the variance.
        initial_gain: a factor for the initial values of W^V, W^O, W_1 and W_2. `Encoder` and `Decoder` choose it by
            their depth, see `residual_gain`.

    Raises:
        ValueError: an unknown `norm`, or a rate outside [0, 1).
    """

    def __init__(
        self,
        num_heads=8,
        d_ff=2048,
        d_k=None,
        d_v=None,
        dropout=0.1,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation="relu",
        norm="post",
        use_bias=False,
        layer_norm_epsilon=1e-6,
        initial_gain=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_norm(norm)
        rates = {
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "activation_dropout": activation_dropout,
        }
        for argument, rate in rates.items():
            if not 0 <= rate < 1:
                raise ValueError(f"{argument} must be in [0, 1), got {rate}.")
        self.options = {
            "num_heads": num_heads,
            "d_ff": d_ff,
            "d_k": d_k,
            "d_v": d_v,
            **rates,
            "activation": keras.activations.get(activation),
            "norm": norm,
            "use_bias": use_bias,
            "layer_norm_epsilon": layer_norm_epsilon,
            "initial_gain": initial_gain,
        }
        self.supports_masking = True

    @property
    def attention_options(self):
        options = {name: self.options[name] for name in ("num_heads", "d_k", "d_v", "use_bias", "initial_gain")}
        return {**options, "dropout": self.options["attention_dropout"], "dtype": self.dtype_policy}

    @property
    def feed_forward_options(self):
        options = {name: self.options[name] for name in ("d_ff", "activation", "initial_gain")}
        return {**options, "dropout": self.options["activation_dropout"], "dtype": self.dtype_policy}

    @property
    def residual_options(self):
        options = {name: self.options[name] for name in ("dropout", "norm", "layer_norm_epsilon")}
        return {**options, "dtype": self.dtype_policy}

    @property
    def saved_options(self):
        """The options in the form that a file holds."""
        return {**self.options, "activation": keras.activations.serialize(self.options["activation"])}

    def get_config(self):
        return {**super().get_config(), **self.saved_options}


class Stack(keras.layers.Layer):
    """Base class of `Encoder` and `Decoder`: N layers of one class, and the final norm that pre-norm needs."""

    layer_class = None

    def __init__(self, num_layers=6, name=None, dtype=None, trainable=True, **layer_options):
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}.")
        self.num_layers = num_layers
        layer_options.setdefault("initial_gain", residual_gain(num_layers, layer_options.get("norm", "post")))
        self.layers = [
            self.layer_class(**layer_options, dtype=self.dtype_policy, name=f"layer_{i}") for i in range(num_layers)
        ]
        options = self.layers[0].options
        self.final_norm = None
        if options["norm"] == "pre":
            self.final_norm = LayerNormalization(
                epsilon=options["layer_norm_epsilon"], dtype=self.dtype_policy, name="final_norm"
            )
        self.supports_masking = True

    def build_layers(self, *shapes):
        for layer in self.layers:
            layer.build(*shapes)
        if self.final_norm is not None:
            self.final_norm.build(shapes[0])
        self.built = True

    def normalize_output(self, x):
        """The output of the stack, from that of its last layer: (B, T, D) -> (B, T, D)."""
        return x if self.final_norm is None else self.final_norm(x)

    def get_config(self):
        return {**super().get_config(), "num_layers": self.num_layers, **self.layers[0].saved_options}
