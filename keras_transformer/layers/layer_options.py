"""The options of a layer, and the stack of layers: what encoder and decoder share."""

from collections.abc import Callable
from typing import Any

import keras

from keras_transformer.layers.arguments import choice, plain
from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.attention_scores import GivesWeights
from keras_transformer.layers.call_checks import ChecksInputs
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.initializers import residual_gain
from keras_transformer.layers.normalization import LayerNormalization
from keras_transformer.layers.parts import LayerOfParts
from keras_transformer.layers.residual import NORM_PLACES, Residual


@keras.saving.register_keras_serializable(package="keras_transformer")
class LayerOptions(ChecksInputs, GivesWeights, LayerOfParts):
    """Base class of `EncoderLayer` and `DecoderLayer`: the options that both take.

    A subclass may name other classes for its sub-layers: `attention_class`, `feed_forward_class`, `residual_class`.

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
        window: r, odd: self-attention sees only the r positions around each position, and in a decoder the (r+1)/2 of
            them that are not later (section 4, "restricted"). Its time and memory grow with r·n instead of n². Default:
            all positions.
        initial_gain: a factor for the initial values of W^V, W^O, W_1 and W_2. `Encoder` and `Decoder` choose it by
            their depth, see `residual_gain`.

    Raises:
        ValueError: an argument of another kind or range.
    """

    attention_class = MultiHeadAttention
    feed_forward_class = FeedForward
    residual_class = Residual

    def __init__(
        self,
        num_heads: int = 8,
        d_ff: int = 2048,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        activation: str | Callable[..., Any] = "relu",
        norm: str = "post",
        use_bias: bool = False,
        layer_norm_epsilon: float = 1e-6,
        window: int | None = None,
        initial_gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        options = {
            "num_heads": num_heads,
            "d_ff": d_ff,
            "d_k": d_k,
            "d_v": d_v,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "activation_dropout": activation_dropout,
            "activation": activation,
            "use_bias": use_bias,
            "layer_norm_epsilon": layer_norm_epsilon,
            "window": window,
            "initial_gain": initial_gain,
        }
        checked = dict(zip(options, plain(**options), strict=True))
        self.options = {**checked, "norm": choice("norm", norm, NORM_PLACES)}
        self.supports_masking = True

    def _options_of_part(self, *names):
        return {
            **{name: self.options[name] for name in names},
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
        }

    def make_attention(self, name, x_shape, memory_shape=None, causal=False):
        """An attention sub-layer, built.

        Args:
            causal: whether the window of a self-attention, if there is one, ends at its own position. Without a window,
                the mask of a call says what is later.
        """
        options = self._options_of_part("num_heads", "d_k", "d_v", "use_bias", "initial_gain")
        if memory_shape is None and self.options["window"] is not None:
            options |= {"window": self.options["window"], "causal": causal}
        attention = self.attention_class(**options, dropout=self.options["attention_dropout"], name=name)
        attention.build(*(shape for shape in (x_shape, memory_shape) if shape is not None))
        return attention

    def make_feed_forward(self, name, x_shape):
        """The feed-forward sub-layer, built."""
        options = self._options_of_part("d_ff", "activation", "initial_gain")
        feed_forward = self.feed_forward_class(**options, dropout=self.options["activation_dropout"], name=name)
        feed_forward.build(x_shape)
        return feed_forward

    def make_residual(self, name, x_shape):
        """A residual connection, built."""
        residual = self.residual_class(**self._options_of_part("dropout", "norm", "layer_norm_epsilon"), name=name)
        residual.build(x_shape)
        return residual

    @property
    def saved_options(self):
        """The options in the form that a file holds."""
        return {**self.options, "activation": keras.activations.serialize(self.options["activation"])}

    def get_config(self):
        return {**super().get_config(), **self.saved_options}


@keras.saving.register_keras_serializable(package="keras_transformer")
class Stack(ChecksInputs, GivesWeights, LayerOfParts):
    """Base class of `Encoder` and `Decoder`: N layers of one class, and the final norm that pre-norm needs.

    A subclass may name another `layer_class`, which is a subclass of `LayerOptions`.
    """

    layer_class = None

    def __init__(
        self,
        num_layers: int = 6,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **layer_options: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        [self.num_layers] = plain(num_layers=num_layers)
        if "initial_gain" not in layer_options:
            norm = choice("norm", layer_options.get("norm", "post"), NORM_PLACES)
            layer_options["initial_gain"] = residual_gain(self.num_layers, norm)
        common = {**layer_options, "dtype": self.dtype_policy, "trainable": trainable}
        self.layers = [self.layer_class(**common, name=f"layer_{i}") for i in range(self.num_layers)]
        self._given_options = layer_options
        options = self.layers[0].options
        self.final_norm = None
        if options["norm"] == "pre":
            self.final_norm = LayerNormalization(
                epsilon=options["layer_norm_epsilon"], dtype=self.dtype_policy, trainable=trainable, name="final_norm"
            )
        self.supports_masking = True

    def build_layers(self, *shapes):
        self.input_widths = tuple(shape[-1] for shape in shapes)
        for layer in self.layers:
            layer.build(*shapes)
        if self.final_norm is not None:
            self.final_norm.build(shapes[0])
        self.built = True

    def normalize_output(self, x):
        """The output of the stack, from that of its last layer: (B, T, D) -> (B, T, D)."""
        return x if self.final_norm is None else self.final_norm(x)

    def weights_in(self, found):
        """What `call_with_weights` adds to the output, from a `Record`: for each kind of attention a list."""
        return tuple(map(list, zip(*(layer.weights_in(found) for layer in self.layers), strict=True)))

    def get_config(self):
        """The arguments of the constructor, with all options of the layers, also those of an own `layer_class`."""
        of_layer = self.layers[0].get_config()
        options = {name: value for name, value in of_layer.items() if name not in ("name", "dtype", "trainable")}
        return {**super().get_config(), "num_layers": self.num_layers, **self._given_options, **options}
