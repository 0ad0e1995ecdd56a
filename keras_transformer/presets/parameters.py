"""The number of parameters of a `Transformer`, without making it."""


def count_parameters(
    vocabulary_size: int,
    *,
    num_encoder_layers: int,
    num_decoder_layers: int,
    d_model: int,
    num_heads: int,
    d_ff: int,
    decoder_d_ff: int | None = None,
    d_k: int | None = None,
    d_v: int | None = None,
    norm: str = "post",
    positions: str = "sinusoidal",
    max_length: int | None = None,
    tie_embeddings: str = "all",
    use_bias: bool = False,
    output_bias: bool = False,
    target_vocabulary_size: int | None = None,
    **_without_parameters: object,
) -> int:
    """Count the parameters of `Transformer(vocabulary_size=…, …)`, section 3.

    With W = heads · (2·d_k + 2·d_v), attention has D·W weights; the feed-forward network 2·D·F + F + D; a
    normalization 2·D. An encoder layer has one attention and two normalizations, a decoder layer two and three.

    Example:
        ```python
        from keras_transformer.presets import count_parameters, preset

        base = count_parameters(37_000, **preset("paper_base"))
        assert base - 37_000 * 512 == 44_101_632  # without the embeddings
        ```

    Args:
        vocabulary_size: V.
        **: arguments of `Transformer`, for example those of `preset`. Arguments without parameters, such as dropout,
            do not count.

    Returns:
        The number of weights and biases.
    """
    d_k, d_v = d_k or d_model // num_heads, d_v or d_model // num_heads
    attention = d_model * num_heads * (2 * d_k + 2 * d_v)
    if use_bias:
        attention += num_heads * (2 * d_k + d_v) + d_model
    normalization = 2 * d_model

    def feed_forward(width):
        return 2 * d_model * width + width + d_model

    encoder_layer = attention + feed_forward(d_ff) + 2 * normalization
    decoder_layer = 2 * attention + feed_forward(decoder_d_ff or d_ff) + 3 * normalization
    stacks = num_encoder_layers * encoder_layer + num_decoder_layers * decoder_layer
    final_norms = 2 * normalization if norm == "pre" else 0
    learned_positions = 2 * max_length * d_model if positions == "learned" else 0
    target_size = target_vocabulary_size or vocabulary_size
    rows = {"all": target_size, "target": vocabulary_size + target_size, "none": vocabulary_size + 2 * target_size}
    bias = target_size if output_bias else 0
    return stacks + final_norms + learned_positions + rows[tie_embeddings] * d_model + bias
