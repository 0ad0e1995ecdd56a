"""The decoder of a `Transformer`, one token at a time."""

from typing import Any

from keras import ops

from keras_transformer.backend.compat import weights_as
from keras_transformer.backend.kernels import take_rows
from keras_transformer.incremental import layer as decoder_layer
from keras_transformer.incremental import state as decoder_state
from keras_transformer.incremental.attention import joint_weights
from keras_transformer.incremental.own_methods import refuse_own_methods, window_of
from keras_transformer.incremental.places import places_of_step
from keras_transformer.incremental.state import DecoderState, StepWeights
from keras_transformer.layers.masks import bias_of, padding_mask


class IncrementalDecoder:
    """Decodes with a `Transformer` token by token, with cached keys and values. The layers are those of training.

    It has the functions that `keras_transformer.decoding` asks of a decoder: `step`, `reorder`, `keep`, `grow` and
    `attention`. The state is a value: each function takes one and gives a new one.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Transformer
        from keras_transformer.incremental import IncrementalDecoder

        model, source = Transformer.from_preset("quickstart", vocabulary_size=23), np.array([[5, 7, 3]], "int32")
        decoder = IncrementalDecoder(model)
        state = decoder.start(model.encode(source), source, room=4)
        logits, state = decoder.step(np.array([[2]], "int32"), state)  # START
        assert logits.shape == (1, 1, 23)
        ```

    Args:
        model: a `Transformer`.

    Raises:
        ValueError: a layer of the model or the model has a method of its own that steps cannot follow, for example
            `call`. The message names it. Or the windows of its decoder layers differ.
    """

    def __init__(self, model):
        refuse_own_methods(model)
        self.model = model
        self.window = window_of(model.decoder)

    def step_weights(self):
        """The decoder's weights in the form that `step` needs: joined, transposed, in the compute dtype.

        Steps that use them do not see later changes of the variables. Decoding computes them once for each batch,
        unless it is given them; an export computes them once, when it is loaded.
        """
        layers = [self.layer_weights(depth) for depth in range(len(self.model.decoder.layers))]
        return StepWeights(layers, self.output_weights(), self._cast_weights())

    def layer_weights(self, depth):
        """The `joint_weights` of the self-attention in one layer."""
        return joint_weights(self.model.decoder.layers[depth].self_attention)

    def output_weights(self):
        """The prepared matrix of the output map."""
        return self.model.output_map.rows.prepare()

    def _cast_weights(self):
        if self.model.compute_dtype == self.model.variable_dtype:
            return []
        return [ops.cast(variable, self.model.compute_dtype) for variable in self._matrices()]

    def _matrices(self):
        """The large variables that a step reads as they are."""
        matrices = []
        for layer in self.model.decoder.layers:
            attention, memory_attention, feed_forward = layer.self_attention, layer.memory_attention, layer.feed_forward
            for owner in (
                attention.output_projection,
                memory_attention.query_projection,
                memory_attention.output_projection,
                feed_forward.inner,
                feed_forward.outer,
            ):
                matrices += owner.matrices()
        return matrices + self.model.target_embedding.matrices()

    def start(
        self,
        memory: Any,
        source: Any,
        room: Any,
        num_hypotheses: int = 1,
        weights: Any = None,
        with_attention: bool = False,
    ) -> DecoderState:
        """The state before the first token, for W = `num_hypotheses` of each sentence.

        The keys and values of the source are computed here, once for each sentence.

        Args:
            memory: `model.encode(source)`, (B, S, D).
            source: the sources' ids (B, S) int32, for their padding.
            room: C, how many tokens the caches have room for; `grow` adds more. An int, or in a TensorFlow graph a
                scalar tensor.
            num_hypotheses: W.
            weights: `step_weights()`, if they are computed already.
            with_attention: keep in `attention` the attention of the last layer, averaged over its heads.

        Returns:
            A `DecoderState`.
        """
        batch, length = ops.shape(source)
        return DecoderState(
            position=ops.zeros((), "int32"),
            filled=ops.zeros((), "int32"),
            caches=[decoder_layer.start(layer, memory, num_hypotheses, room) for layer in self.model.decoder.layers],
            past=ops.zeros((batch, num_hypotheses, room, num_hypotheses), "bool"),
            memory_bias=bias_of(padding_mask(source)[:, None, None, :]),
            attention=ops.zeros((batch, num_hypotheses, length), "float32") if with_attention else (),
            weights=self.step_weights() if weights is None else weights,
        )

    def step(self, ids: Any, state: DecoderState) -> tuple[Any, DecoderState]:
        """The logits of the next token.

        Args:
            ids: (B, W') int32, the last token of each hypothesis; START at the first step. W' is W, or the number
                that `reorder` chose.
            state: a `DecoderState` with room for the token. A TensorFlow graph writes to its buffers: do not use it
                again.

        Returns:
            Logits (B, W', V) float32, and the new state.
        """
        x, state = self.vectors(ids, state)
        return self.logits(x, state), state

    def vectors(self, ids, state):
        """The first part of `step`, up to the vectors before the output map: (B, W', D), and the new state."""
        model, position, weights = self.model, state.position, state.weights
        variables = map(id, self._matrices()) if weights.cast else ()
        with weights_as(dict(zip(variables, weights.cast, strict=True))):
            x = model.target_embedding.lookup(ids) + model.target_positions.at(position[None])  # (B, W', D)
            x, state, memory_weights = self._through_layers(x, state)
        attention = state.attention
        if not isinstance(attention, tuple):
            attention = ops.mean(memory_weights, axis=1)
        return x, state._replace(position=position + 1, filled=state.filled + 1, attention=attention)

    def logits(self, x, state):
        """The second part of `step`: vectors (B, W', D) and their state -> logits (B, W', V) float32."""
        return self.model.add_output_bias(self.model.output_map.logits(x, state.weights.output))

    def chosen_weights(self, ids):
        """What `step_among` needs to choose among some ids (U,) int32: a nest of tensors."""
        bias = self.model.output_bias
        return self.model.output_map.rows.choose(ids), () if bias is None else take_rows(bias.bias, ids)

    def step_among(self, ids, state, chosen):
        """As `step`, with the logits of some pieces only.

        Args:
            ids, state: as in `step`.
            chosen: `chosen_weights` of U ids.

        Returns:
            Logits (B, W', U) float32, and the new state.
        """
        x, state = self.vectors(ids, state)
        weights, bias = chosen
        logits = self.model.output_map.logits(x, weights)
        return logits if isinstance(bias, tuple) else logits + bias, state

    def _through_layers(self, x, state):
        """(B, W', D) through all layers: the output (B, W', D), the state with new caches, the last memory weights."""
        decoder = self.model.decoder
        batch, width = ops.shape(x)[:2]
        d_model = x.shape[-1]
        num_heads = decoder.layers[0].options["num_heads"]
        places, past = places_of_step(state.past, state.filled, state.memory_bias, num_heads, self.window)
        x = ops.reshape(x, (-1, d_model))  # (B·W', D)
        caches = []
        for layer, cache, weights in zip(decoder.layers, state.caches, state.weights.layers, strict=True):
            x, cache, memory_weights = decoder_layer.step(layer, x, cache, places, weights)
            caches.append(cache)
        x = ops.reshape(decoder.normalize_output(x), (batch, width, d_model))
        return x, state._replace(caches=caches, past=past), memory_weights

    reorder = staticmethod(decoder_state.reorder)
    keep = staticmethod(decoder_state.keep)

    def grow(self, state: DecoderState, more: Any) -> DecoderState:
        """The state with room for `more` tokens. It drops the slots that no hypothesis needs any more."""
        return decoder_state.grow(state, more, has_window=self.window is not None)

    @staticmethod
    def attention(state):
        """The attention of the last step over the source: (B, W', S) float32, the mean of the last layer's heads."""
        return state.attention
