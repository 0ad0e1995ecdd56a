"""The encoder-decoder Transformer as a functional Keras model, section 3."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.backend.int8 import floating_policy, quantize_model
from keras_transformer.inputs.options import check_arguments, refuses_unknown
from keras_transformer.keras_files import loading_weights
from keras_transformer.layers import Decoder, Encoder, PositionalEncoding, TokenEmbedding
from keras_transformer.layers.architecture import CONFIG, LAYER_OPTIONS, plain_config
from keras_transformer.layers.attention_scores import record
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.embedding import OutputBias
from keras_transformer.layers.masks import padding_mask
from keras_transformer.layers.parts import change_parts, changes_of_parts, is_own
from keras_transformer.presets import preset
from keras_transformer.train_step import TokenTraining
from keras_transformer.train_step.call_checks import FORM, check_input, checked_inputs
from keras_transformer.train_step.data_checks import Limits


@keras.saving.register_keras_serializable(package="keras_transformer")
class Transformer(compat.CloneHook, TokenTraining):
    """The Transformer of "Attention Is All You Need": ids in, logits out.

    A functional model of {"source": (B, S), "target": (B, T)} int32 -> logits (B, T, V) float32. `target` is the input
    of the decoder, already shifted right. Id 0 is padding: it is masked in the source, and it must be at the end of a
    row. The defaults are the paper's base model (Table 3).

    `keras_transformer.incremental` decodes token by token over the same layers. Saved as `.keras`, the model is read by
    `keras.saving.load_model` in every program that has imported `keras_transformer`. Frozen parts stay frozen, and LoRA
    of a part stays. `model.from_config(model.get_config())` is a new model; `keras.models.clone_model` is refused.

    To change something, override the `call` of a layer or of the model: training, evaluation and attention weights use
    it. Cached decoding follows `DecoderLayer.connect` and the layers of the encoder, and refuses what it cannot follow.
    A subclass of the model names its `encoder_class` and `decoder_class`, a subclass of these its `layer_class`, and a
    subclass of the layers `attention_class`, `feed_forward_class` and `residual_class`.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Transformer

        sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 32}
        model = Transformer(vocabulary_size=23, **sizes)
        batch = {"source": np.array([[5, 7, 3]]), "target": np.array([[2, 8, 6, 4]])}  # (B, S), (B, T)
        logits = model(batch)
        assert logits.shape == (1, 4, 23)
        ```

    Args:
        vocabulary_size: V of the source, and of the target if that is not given.
        target_vocabulary_size: V of the target. If it differs, `tie_embeddings` must be "target" or "none".
        num_encoder_layers, num_decoder_layers: N.
        d_model, num_heads, d_ff, d_k, d_v, dropout: as in Table 3. `dropout` is applied to the output of each sub-layer
            and to the sums of embedding and position (section 5.4).
        decoder_d_ff: d_ff of the decoder. None is that of the encoder.
        attention_dropout, activation_dropout, activation, norm, use_bias, layer_norm_epsilon: see `EncoderLayer`. Their
            defaults are the paper's.
        window: r, odd: self-attention sees only the r positions around each position, in the decoder no later ones; see
            `EncoderLayer`. Attention over the source is never restricted.
        positions: "sinusoidal", "sinusoidal_halves" (all sines, then all cosines) or "learned".
        max_length: rows of learned positions.
        tie_embeddings: "all", one matrix for source, target and output (section 3.4); "target", one for target and
            output; "none".
        scale_embeddings: whether embeddings are multiplied by √d_model (section 3.4).
        output_bias: whether each piece's logit has a bias. The paper has none.
        dtype: a Keras dtype policy. A quantized one, such as "int8_from_float32", is for translating: see `quantize`.

    Raises:
        ValueError: an argument of another kind or range, or arguments that do not fit together.
    """

    encoder_class = Encoder
    decoder_class = Decoder

    @refuses_unknown()
    def __init__(
        self,
        *,
        vocabulary_size: int,
        target_vocabulary_size: int | None = None,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        d_model: int = 512,
        num_heads: int = 8,
        d_ff: int = 2048,
        decoder_d_ff: int | None = None,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        activation: str | Callable[..., Any] = "relu",
        norm: str = "post",
        positions: str = "sinusoidal",
        max_length: int | None = None,
        tie_embeddings: str = "all",
        use_bias: bool = False,
        layer_norm_epsilon: float = 1e-6,
        window: int | None = None,
        scale_embeddings: bool = True,
        output_bias: bool = False,
        name: str = "transformer",
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        config = plain_config(
            {key: value for key, value in locals().items() if key in CONFIG}
        )  # of the arguments above
        policy = keras.dtype_policies.get(dtype)
        layers_policy = floating_policy(policy) if policy.quantization_mode else dtype
        parts = make_parts(config, layers_policy, self.encoder_class, self.decoder_class)
        if not isinstance(activation, str):  # a file holds its name
            config["activation"] = keras.activations.serialize(keras.activations.get(activation))
        compat.list_first(self, filter(None, vars(parts).values()))
        source = keras.Input((None,), dtype="int32", name="source")
        target = keras.Input((None,), dtype="int32", name="target")
        logits = output_logits(parts, vectors(parts, source, target))
        super().__init__(inputs={"source": source, "target": target}, outputs=logits, name=name)
        for part, layer in vars(parts).items():
            setattr(self, part, layer)
        compat.mark_as_called(self)
        if not trainable:
            self.trainable = False
        self._config = config
        self.vocabulary_size = config["vocabulary_size"]
        self.target_vocabulary_size = config["target_vocabulary_size"]
        self.d_model = config["d_model"]
        self.dtype_policy = self.encoder.dtype_policy
        if policy.quantization_mode:
            self.quantize(policy.quantization_mode)

    def quantize(self, mode: str, config: Any = None, filters: Any = None) -> None:
        """Turn matrices into 8-bit integers, and multiply by them in integers: for decoding on a processor.

        Each column of a matrix has its own scale; of the embeddings, each piece. Each row that is multiplied by a
        matrix has its own scale too, whatever else is in the batch. Another batch may round a number differently in its
        last bit, and then it may move by 1/127 of its row's largest number. Layers with fewer than `int8.SMALLEST`
        weights stay as they are, because rounding the rows takes longer than it saves (measured). So do biases,
        normalization and positions. Afterwards the model can translate, score and be saved, in about a third of the
        space, or be exported. It cannot be trained.

        TensorFlow's graphs hold the integers as constants, each several times in memory. A graph that was traced before
        other weights are loaded does not see them. TensorFlow multiplies integers on the processor, even if there is a
        GPU.

        Raises:
            ValueError: another mode than "int8", a `config` with other quantizers, or `filters`; a model that is
                quantized already, is too small, has variables of another dtype than float32 or weights that are not
                finite.
            IntegersNotExact: TensorFlow has no oneDNN here, or the processor no VNNI.
        """
        quantize_model(self, mode, config, filters)
        self.quantized = True
        self.optimizer, self.compiled = None, False
        self.train_function = self.test_function = self.predict_function = None  # they were traced before

    @property
    def output_variables(self):
        """The matrix (V, D) of the output map and its bias (V,), or None."""
        return self.output_map.embeddings, None if self.output_bias is None else self.output_bias.bias

    @property
    def input_limits(self):
        """The ids and lengths that the model knows, `Limits` of "source" and "target"."""
        positions = {"source": self.source_positions, "target": self.target_positions}
        longest = {side: each.max_length if each.kind == "learned" else None for side, each in positions.items()}
        return {
            "source": Limits("vocabulary_size", self.vocabulary_size, longest["source"]),
            "target": Limits("target_vocabulary_size", self.target_vocabulary_size, longest["target"]),
        }

    @property
    def has_one_vocabulary(self) -> bool:
        """Whether the same ids are the same pieces in source and target: they have the same vectors."""
        return self.source_embedding is self.target_embedding

    @property
    def reason_against_vectors(self):
        """Why a step must call the model or its output map, in words; None if decoder vectors are enough."""
        for layer in (self, self.output_map, self.output_bias):
            if layer is not None and layer.activity_regularizer is not None:
                return f"{layer.name} has an activity_regularizer"
        if is_own(self, "decoder_vectors"):
            return f"{self.name} has its own decoder_vectors, which its call does not use"
        for layer in (self.output_map, self.output_bias):
            if layer is not None and is_own(layer, "call"):
                return f"{layer.name} has its own call"
        return None

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """`keras.Model.load_weights`, which compares the file with the model before it changes a weight.

        Raises:
            ValueError: the file has other weights, or is no file of weights. The weights stay as they were.
            OSError: there is no file, or it cannot be read.
        """
        with loading_weights(self, filepath, compare=not skip_mismatch and not kwargs):
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or "inputs" in kwargs:
            inputs, *args = args or [kwargs.pop("inputs")]
            args = [checked_inputs(self.input_limits, inputs, takes_more=is_own(self, "call")), *args]
        elif not is_own(self, "call"):
            raise TypeError(f"the inputs are missing. Call {self.name}({FORM}).")
        return super().__call__(*args, **kwargs)

    def encode(self, source: Any) -> Any:
        """The encoder's output for source ids: (B, S) int32 -> (B, S, D)."""
        check_input("source", source, self.input_limits["source"])
        return self.encoder(embed_source(self, source), mask=padding_mask(source))

    def decoder_vectors(self, inputs: Any, training: bool | None = None) -> Any:
        """The vectors before the output map: the model's inputs -> (B, T, D)."""
        source, target = (inputs["source"], inputs["target"]) if isinstance(inputs, dict) else inputs
        source, target = ops.convert_to_tensor(source, "int32"), ops.convert_to_tensor(target, "int32")
        with compat.one_call_of(self):
            return vectors(self, source, target, training)

    def add_output_bias(self, logits):
        """Logits with the output bias, if the model has one."""
        return logits if self.output_bias is None else self.output_bias(logits)

    def attention_weights(self, source: Any, target: Any) -> dict[str, Any]:
        """The attention weights of every head, for plots.

        Args:
            source: (B, S) int32.
            target: the decoder's input (B, T) int32.

        Returns:
            A dictionary of float32 arrays: "encoder" (N, B, H, S, S), "decoder" (N, B, H, T, T), "cross"
            (N, B, H, T, S).
        """
        return self.call_with_weights(source, target)[1]

    def call_with_weights(self, source: Any, target: Any) -> tuple[Any, dict[str, Any]]:
        """The logits of a call (B, T, V) float32, and `attention_weights` of the same pass."""
        with record() as found:
            logits = self({"source": source, "target": target})
        [encoder], (decoder, cross) = self.encoder.weights_in(found), self.decoder.weights_in(found)
        weights = {"encoder": encoder, "decoder": decoder, "cross": cross}
        return logits, {name: ops.stack(of_layers) for name, of_layers in weights.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, flat. If something was set on parts afterwards, also `changed_parts`."""
        name = f"int8_from_{self.dtype_policy.name}" if self.quantized else self.dtype_policy
        policy = keras.dtype_policies.serialize(keras.dtype_policies.get(name))
        changes = changes_of_parts(self)
        changes = {"changed_parts": changes} if changes else {}
        return {**self._config, "name": self.name, "trainable": self.trainable, "dtype": policy, **changes}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        model = cls(**{name: value for name, value in config.items() if name != "changed_parts"})
        change_parts(model, config.get("changed_parts", {}))
        return model

    def refuse_cloning(self):
        """The error of `keras.models.clone_model`, which would make a functional model without our methods."""
        raise ValueError(
            f"clone_model cannot make a {type(self).__name__}. Use model.from_config(model.get_config()) instead, then "
            "compile the new model."
        )

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:
        """A model of a named preset, with any of the constructor's arguments changed.

        Raises:
            ValueError: an unknown preset; the message lists the known ones.
            TypeError: an unknown argument; the message has the nearest name.
        """
        arguments = preset(name)
        check_arguments(cls, changes, f"{cls.__name__}.from_preset")
        return cls(**{**arguments, **changes})


def make_parts(config, dtype, encoder_class, decoder_class):
    """The layers of a `Transformer`, by the name of its attribute."""
    size, target_size, tie = (config[k] for k in ("vocabulary_size", "target_vocabulary_size", "tie_embeddings"))

    def embedding(name, size):
        return TokenEmbedding(size, config["d_model"], config["scale_embeddings"], dtype=dtype, name=name)

    def positions(name):
        return PositionalEncoding(config["positions"], config["max_length"], dtype=dtype, name=name)

    parts = SimpleNamespace()
    if tie == "all":
        parts.source_embedding = parts.target_embedding = embedding("token_embedding", size)
    else:
        parts.source_embedding = embedding("source_embedding", size)
        parts.target_embedding = embedding("target_embedding", target_size)
    parts.output_map = embedding("output_map", target_size) if tie == "none" else parts.target_embedding
    parts.output_bias = OutputBias(name="output_bias") if config["output_bias"] else None
    parts.source_positions, parts.target_positions = positions("source_positions"), positions("target_positions")
    parts.source_dropout = Dropout(config["dropout"], dtype=dtype, name="source_dropout")
    parts.target_dropout = Dropout(config["dropout"], dtype=dtype, name="target_dropout")
    options = {name: config[name] for name in LAYER_OPTIONS}
    parts.encoder = encoder_class(config["num_encoder_layers"], **options, dtype=dtype, name="encoder")
    options["d_ff"] = config["decoder_d_ff"] or config["d_ff"]
    parts.decoder = decoder_class(config["num_decoder_layers"], **options, dtype=dtype, name="decoder")
    return parts


def embed_source(parts, source, training=None):
    """Source ids to the encoder's input: (B, S) -> (B, S, D)."""
    return parts.source_dropout(parts.source_positions(parts.source_embedding(source)), training=training)


def embed_target(parts, target, training=None):
    """The decoder's ids to its input: (B, T) -> (B, T, D)."""
    return parts.target_dropout(parts.target_positions(parts.target_embedding(target)), training=training)


def vectors(parts, source, target, training=None):
    """The one way from ids to the vectors before the output map: (B, S), (B, T) -> (B, T, D).

    Args:
        parts: a `Transformer`, or the namespace of its layers before it exists.
        source, target: ids, int32.
    """
    mask = padding_mask(source)
    memory = parts.encoder(embed_source(parts, source, training), mask=mask, training=training)
    return parts.decoder(embed_target(parts, target, training), memory, memory_mask=mask, training=training)


def output_logits(parts, x):
    """The output map: (B, T, D) -> (B, T, V) float32."""
    logits = parts.output_map(x, reverse=True)
    return logits if parts.output_bias is None else parts.output_bias(logits)
