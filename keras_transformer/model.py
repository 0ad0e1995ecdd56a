"""The encoder-decoder Transformer as a functional Keras model, section 3."""

import contextlib

import keras
from keras import ops

from keras_transformer.backend.int8 import SMALLEST, check_int8, is_plain, keras_deletes_fast, policy_before
from keras_transformer.backend.kernels import in_float32
from keras_transformer.incremental import state as decoder_state
from keras_transformer.incremental.state import DecoderState, StepWeights
from keras_transformer.layers import Decoder, Encoder, PositionalEncoding, TokenEmbedding
from keras_transformer.layers.decoder import bias_of
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.embedding import OutputBias
from keras_transformer.layers.masks import padding_mask
from keras_transformer.layers.projection import Projection
from keras_transformer.presets import preset
from keras_transformer.train_step.token_training import TokenTraining

TIES = ("all", "target", "none")


@keras.saving.register_keras_serializable(package="keras_transformer")
class Transformer(TokenTraining):
    """The Transformer of "Attention Is All You Need": ids in, logits out.

    A functional model of {"source": (B, S), "target": (B, T)} int32 -> logits (B, T, V) float32, where
    `target` is the decoder's input, already shifted right. Id 0 is padding: masked in the source, and
    expected at the end of a row. The defaults are the paper's base model (Table 3).

    `encode`, `start` and `step` decode over the same layers as training. Saved as `.keras`, the model is
    read by `keras.saving.load_model` wherever `keras_transformer` has been imported.

    Args:
        vocabulary_size: V of the source, and of the target unless that is given.
        target_vocabulary_size: V of the target; needs `tie_embeddings` other than "all" if it differs.
        num_encoder_layers, num_decoder_layers: N.
        d_model, num_heads, d_ff, d_k, d_v, dropout: as in Table 3. `dropout` stands on each sub-layer's
            output and on the sums of embedding and position (section 5.4).
        attention_dropout, activation_dropout, activation, norm, use_bias, layer_norm_epsilon: see
            `EncoderLayer`; their defaults are the paper's.
        positions: "sinusoidal", "sinusoidal_halves" (all sines, then all cosines) or "learned".
        max_length: rows of learned positions.
        tie_embeddings: "all", one matrix for source, target and output (section 3.4); "target", one for
            target and output; "none".
        scale_embeddings: embeddings × √d_model on the way in (section 3.4).
        output_bias: a bias on each piece's logit; the paper has none.
        dtype: a Keras dtype policy. A quantised one, such as "int8_from_float32", is for translating: see
            `quantize`.

    Raises:
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        *,
        vocabulary_size,
        target_vocabulary_size=None,
        num_encoder_layers=6,
        num_decoder_layers=6,
        d_model=512,
        num_heads=8,
        d_ff=2048,
        d_k=None,
        d_v=None,
        dropout=0.1,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation="relu",
        norm="post",
        positions="sinusoidal",
        max_length=None,
        tie_embeddings="all",
        use_bias=False,
        layer_norm_epsilon=1e-6,
        scale_embeddings=True,
        output_bias=False,
        name="transformer",
        dtype=None,
        trainable=True,
    ):
        policy = keras.dtype_policies.get(dtype)
        if policy.quantization_mode:
            dtype = policy_before(policy)
        target_vocabulary_size = target_vocabulary_size or vocabulary_size
        if tie_embeddings not in TIES:
            raise ValueError(f"tie_embeddings must be one of {TIES}, got {tie_embeddings!r}.")
        if tie_embeddings == "all" and target_vocabulary_size != vocabulary_size:
            raise ValueError(
                f"tie_embeddings='all' needs one vocabulary, got vocabulary_size={vocabulary_size} and "
                f"target_vocabulary_size={target_vocabulary_size}. Choose 'target' or 'none'."
            )
        layer_options = {
            "num_heads": num_heads,
            "d_ff": d_ff,
            "d_k": d_k,
            "d_v": d_v,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "activation_dropout": activation_dropout,
            "activation": activation,
            "norm": norm,
            "use_bias": use_bias,
            "layer_norm_epsilon": layer_norm_epsilon,
            "dtype": dtype,
        }
        self._config = {
            "vocabulary_size": vocabulary_size,
            "target_vocabulary_size": target_vocabulary_size,
            "num_encoder_layers": num_encoder_layers,
            "num_decoder_layers": num_decoder_layers,
            "d_model": d_model,
            **{argument: value for argument, value in layer_options.items() if argument != "dtype"},
            "positions": positions,
            "max_length": max_length,
            "tie_embeddings": tie_embeddings,
            "scale_embeddings": scale_embeddings,
            "output_bias": output_bias,
        }
        if not isinstance(activation, str):  # a file needs its name
            self._config["activation"] = keras.activations.serialize(keras.activations.get(activation))
        self.vocabulary_size = vocabulary_size
        self.target_vocabulary_size = target_vocabulary_size
        self.d_model = d_model

        def embedding(name, size):
            return TokenEmbedding(size, d_model, scale_embeddings, dtype=dtype, name=name)

        if tie_embeddings == "all":
            self.source_embedding = self.target_embedding = embedding("token_embedding", vocabulary_size)
        else:
            self.source_embedding = embedding("source_embedding", vocabulary_size)
            self.target_embedding = embedding("target_embedding", target_vocabulary_size)
        self.output_map = self.target_embedding
        if tie_embeddings == "none":
            self.output_map = embedding("output_map", target_vocabulary_size)
        self.output_bias = OutputBias(name="output_bias") if output_bias else None
        self.source_positions = PositionalEncoding(positions, max_length, dtype=dtype, name="source_positions")
        self.target_positions = PositionalEncoding(positions, max_length, dtype=dtype, name="target_positions")
        self.source_dropout = Dropout(dropout, dtype=dtype, name="source_dropout")
        self.target_dropout = Dropout(dropout, dtype=dtype, name="target_dropout")
        self.encoder = Encoder(num_encoder_layers, **layer_options, name="encoder")
        self.decoder = Decoder(num_decoder_layers, **layer_options, name="decoder")

        source = keras.Input((None,), dtype="int32", name="source")
        target = keras.Input((None,), dtype="int32", name="target")
        x = self.decoder(self._embed_target(target), self.encode(source), memory_mask=padding_mask(source))
        logits = self._with_bias(self.output_map(x, reverse=True))
        super().__init__(inputs={"source": source, "target": target}, outputs=logits, name=name, trainable=trainable)
        self.dtype_policy = self.encoder.dtype_policy
        if policy.quantization_mode:
            self.quantize(policy.quantization_mode)

    def quantize(self, mode, config=None, filters=None):
        """Turn matrices into 8-bit integers, and products with them too: for decoding on a processor.

        Each column of a matrix, and of the embeddings each piece, gets a scale of its own, and so does each row that
        meets it, whatever stands beside; yet a number that another batch rounds otherwise in its last bit may move by
        1/127 of its row's largest. What has fewer than `int8.SMALLEST` weights stays as it is, where rounding rows
        takes longer than it saves (measured), and so do biases, normalisation and positions. Afterwards the model
        translates, scores and is saved, in about a third of the space, but is neither trained nor exported.

        TensorFlow's graphs hold the integers as constants, each several times in memory: one that was traced before
        other weights are loaded does not see them. It multiplies them on the processor, where there is a GPU too.

        Raises:
            ValueError: another mode than "int8", a `config` of one's own or `filters`; a model that is quantised
                already, is too small, has variables of another dtype than float32 or weights that are not finite.
            IntegersNotExact: TensorFlow has no oneDNN here, or the processor no VNNI.
        """
        if not is_plain(mode, config) or filters is not None:  # Keras makes a config of the mode and hands both on
            raise ValueError(
                f"a Transformer quantises as 'int8', without a config of one's own and filters; got {mode!r}."
            )
        if self.quantised:
            raise ValueError("the model is quantised already.")
        if self.variable_dtype != "float32":
            raise ValueError(f"scales need variables in float32, those of this model are in {self.variable_dtype}.")
        layers = [
            layer
            for layer in self._flatten_layers()
            if isinstance(layer, (Projection, TokenEmbedding)) and layer.count_params() >= SMALLEST
        ]
        if not layers:
            raise ValueError(f"no matrix of this model has {SMALLEST:,} weights, from which on integers are faster.")
        check_int8()
        for weight in self.weights:
            if not ops.convert_to_numpy(ops.all(ops.isfinite(weight))):
                raise ValueError(f"{weight.path} is not finite: it cannot be quantised.")
        with keras_deletes_fast():
            for layer in layers:
                layer.quantize(mode)
        self.quantised = True
        self.optimizer, self.compiled = None, False
        self.train_function = self.test_function = self.predict_function = None  # traced before

    def _embed_source(self, source):
        return self.source_dropout(self.source_positions(self.source_embedding(source)))

    def _embed_target(self, target):
        return self.target_dropout(self.target_positions(self.target_embedding(target)))

    def _with_bias(self, logits):
        return logits if self.output_bias is None else self.output_bias(logits)

    @property
    def output_variables(self):
        """The matrix (V, D) of the output map and its bias (V,), or None."""
        return self.output_map.embeddings, None if self.output_bias is None else self.output_bias.bias

    def encode(self, source):
        """The encoder's output for source ids: (B, S) int32 -> (B, S, D)."""
        return self.encoder(self._embed_source(source), mask=padding_mask(source))

    def step_weights(self):
        """The decoder's weights in the form that `step` wants: joined, transposed, in the compute dtype.

        Steps that follow do not see later changes of the variables. Decoding computes them once a batch
        unless it is given them; an export once, when it is loaded.
        """
        cast = []
        if self.compute_dtype != self.variable_dtype:
            cast = [ops.cast(variable, self.compute_dtype) for variable in self._step_kernels()]
        return StepWeights(self.decoder.step_weights(), self.output_weights(), cast)

    def output_weights(self):
        """The output map's share of `step_weights`: (D, V), or () for 8-bit integers."""
        if self.output_map.scales is not None:
            return ()
        return ops.transpose(ops.cast(self.output_map.embeddings, self.compute_dtype))

    def _step_kernels(self):
        layers = [kernel for layer in self.decoder.layers for kernel in layer.step_kernels]
        return layers if self.target_embedding.scales is not None else [*layers, self.target_embedding.embeddings]

    def start(self, memory, source, room, num_hypotheses=1, weights=None, with_attention=False):
        """The state before the first token, for W = `num_hypotheses` a sentence.

        Args:
            memory: `encode(source)`, (B, S, D).
            source: the ids (B, S), for their padding.
            room: C, how many tokens the caches have room for; `grow` makes more. An int, or a scalar
                tensor in a TensorFlow graph.
            num_hypotheses: W.
            weights: `step_weights()`, if at hand.
            with_attention: keep in `attention` whom the last layer's heads attended to, on average.

        Returns:
            A `DecoderState`, a value to hand to `step`. Keys and values of the source are computed
            here, once a sentence.
        """
        batch, length = ops.shape(source)
        return DecoderState(
            position=ops.zeros((), "int32"),
            filled=ops.zeros((), "int32"),
            caches=self.decoder.start(memory, num_hypotheses, room),
            past=ops.zeros((batch, num_hypotheses, room, num_hypotheses), "bool"),
            memory_bias=bias_of(padding_mask(source)[:, None, None, :]),
            attention=ops.zeros((batch, num_hypotheses, length)) if with_attention else (),
            weights=self.step_weights() if weights is None else weights,
        )

    def step(self, ids, state):
        """The next token's logits.

        Args:
            ids: (B, W') int32, each hypothesis' last token; START at the first step. W' is W, or what `reorder`
                has made of it.
            state: a `DecoderState` with room for it. In a TensorFlow graph it is used up: its buffers are
                written to, so go on from the new state alone.

        Returns:
            Logits (B, W', V) float32, and the new state.
        """
        position, weights = state.position, state.weights
        scope = contextlib.nullcontext()  # a caller's own scope stays in force
        if weights.cast:
            scope = keras.StatelessScope()  # its argument would cast them back
            scope.state_mapping = dict(zip(map(id, self._step_kernels()), weights.cast, strict=True))
        with scope:
            x = self.target_embedding(ids) + self.target_positions.at(position[None])  # (B, W, D)
            x, caches, past, found = self.decoder.step(
                x, state.caches, state.past, state.filled, state.memory_bias, weights.layers
            )
        if self.output_map.scales is not None:
            logits = self.output_map(x, reverse=True)
        else:
            logits = in_float32(ops.matmul(ops.reshape(x, (-1, self.d_model)), weights.output))
            logits = ops.reshape(logits, (-1, ids.shape[1], self.target_vocabulary_size))
        logits = self._with_bias(logits)
        attention = state.attention if isinstance(state.attention, tuple) else ops.mean(found, axis=1)
        state = state._replace(
            position=position + 1, filled=state.filled + 1, caches=caches, past=past, attention=attention
        )
        return logits, state

    reorder = staticmethod(decoder_state.reorder)
    keep = staticmethod(decoder_state.keep)
    grow = staticmethod(decoder_state.grow)

    @staticmethod
    def attention(state):
        """Whom the last step attended to: (B, W, S) float32, a mean over the last layer's heads."""
        return state.attention

    def attention_weights(self, source, target):
        """What every head attends to, for plots.

        Args:
            source: (B, S) int32.
            target: the decoder's input (B, T) int32.

        Returns:
            A dictionary of float32 arrays: "encoder" (N, B, H, S, S), "decoder" (N, B, H, T, T),
            "cross" (N, B, H, T, S).
        """
        return self.call_with_weights(source, target)[1]

    def call_with_weights(self, source, target):
        """The logits of a call (B, T, V) float32, and `attention_weights` of the same pass."""
        mask = padding_mask(source)
        memory, encoder = self.encoder.call_with_weights(self._embed_source(source), mask)
        x, decoder, cross = self.decoder.call_with_weights(self._embed_target(target), memory, memory_mask=mask)
        logits = self._with_bias(self.output_map(x, reverse=True))
        return logits, {"encoder": ops.stack(encoder), "decoder": ops.stack(decoder), "cross": ops.stack(cross)}

    def get_config(self):
        """The constructor's arguments, flat."""
        name = f"int8_from_{self.dtype_policy.name}" if self.quantised else self.dtype_policy
        policy = keras.dtype_policies.serialize(keras.dtype_policies.get(name))
        return {**self._config, "name": self.name, "trainable": self.trainable, "dtype": policy}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    @classmethod
    def from_preset(cls, name, **changes):
        """A model of a named preset, with any of the constructor's arguments changed.

        Raises:
            ValueError: an unknown preset; the message lists the known ones.
        """
        return cls(**{**preset(name), **changes})
