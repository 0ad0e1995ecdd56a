"""Which methods of a subclass cached decoding can follow. It refuses the others, because it would ignore them."""

from keras_transformer.layers import Decoder, DecoderLayer, MultiHeadAttention, PositionalEncoding, TokenEmbedding
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.parts import is_own
from keras_transformer.layers.projection import Projection

OF_MODEL = ("call", "encode", "decoder_vectors", "add_output_bias")
OF_ATTENTION = ("call", "attend", "project_query", "project_memory")
REMEDY = (
    "Override DecoderLayer.connect, Residual.enter and leave, the call of FeedForward, or layers of the encoder: "
    "training and cached decoding both use them."
)


def refuse_own_methods(model):
    """Refuse a `Transformer` whose steps would differ from its calls.

    Raises:
        ValueError: a layer that decodes is of a foreign class, or has a method that steps do not use.
    """
    for owner, kind, methods, name in _unused(model):
        if kind is not None and not isinstance(owner, kind):
            raise ValueError(
                f"cached decoding needs the {kind.__name__} of keras_transformer as {name}, got "
                f"{type(owner).__module__}.{type(owner).__name__}. {REMEDY}"
            )
        for method in methods:
            if is_own(owner, method):
                raise ValueError(
                    f"cached decoding cannot follow the own {method} of {type(owner).__name__} ({name}). {REMEDY}"
                )


def _unused(model):
    """(owner, its class, methods that steps go past, name), for all that takes part in a step."""
    decoder = model.decoder
    yield model, None, OF_MODEL, model.name
    yield model.target_embedding, TokenEmbedding, ("call",), model.target_embedding.name
    yield model.target_positions, PositionalEncoding, ("call",), model.target_positions.name
    yield model.target_dropout, Dropout, ("call",), model.target_dropout.name
    yield model.output_map, TokenEmbedding, ("call",), model.output_map.name
    yield decoder, Decoder, ("call",), decoder.name
    for layer in decoder.layers:
        yield layer, DecoderLayer, ("call",), f"{decoder.name}/{layer.name}"
        for attention in (layer.self_attention, layer.memory_attention):
            name = f"{decoder.name}/{layer.name}/{attention.name}"
            yield attention, MultiHeadAttention, OF_ATTENTION, name
            for projection in ("query_projection", "key_projection", "value_projection"):
                part = getattr(attention, projection)
                yield part, Projection, ("call",), f"{name}/{part.name}"
            yield attention.weights_dropout, Dropout, ("call",), f"{name}/{attention.weights_dropout.name}"


def window_of(decoder):
    """The window of the self-attention of all layers, or None.

    Raises:
        ValueError: the layers differ, so that they would need different caches.
    """
    windows = [layer.self_attention.window for layer in decoder.layers]
    if len(set(windows)) > 1:
        raise ValueError(f"cached decoding needs one window for all layers of the decoder, got {windows}.")
    return windows[0]
