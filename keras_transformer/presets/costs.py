"""What one update of a training costs: floating-point operations and memory, by counting."""

import math
from dataclasses import dataclass
from typing import Any

from keras_transformer.presets.parameters import count_parameters

BYTES = 4  # of a float32
COPIES = 4  # of each weight: itself, its gradient, and Adam's two means


@dataclass(frozen=True)
class Costs:
    """What one update costs.

    Attributes:
        parameters: int, the weights of the model.
        flops: int, the floating-point operations of all matrix products, forward and backward. A multiplication and
            an addition are two operations. The rest, such as softmax and dropout, is some percent more.
        weight_bytes: int, the memory of weights, gradients and Adam's means, in float32.
        activation_bytes: int, the memory of what the forward pass keeps for the backward pass, about, in float32. The
            logits are not in it: the loss computes them in chunks.
    """

    parameters: int
    flops: int
    weight_bytes: int
    activation_bytes: int

    @property
    def bytes(self) -> int:
        """The memory of an update, about."""
        return self.weight_bytes + self.activation_bytes


def training_costs(
    arguments: dict[str, Any],
    *,
    sentences: float,
    source_length: float,
    target_length: float,
) -> Costs:
    """Count what an update costs.

    A matrix of n weights takes 2·n operations for each token. Attention takes 2·H·(d_k + d_v) more for each pair of
    positions, with `window` for the pairs inside it. The backward pass takes twice the operations of the forward pass.
    Table 2 of the paper names other numbers: it multiplies the time of a training with the speed that its GPUs can keep
    up.

    Example:
        ```python
        from keras_transformer.presets import preset, training_costs

        batch = {"sentences": 1000, "source_length": 25, "target_length": 25}
        costs = training_costs(preset("paper_base") | {"vocabulary_size": 37_000}, **batch)
        print(f"{costs.flops * 100_000:.1e} operations, {costs.bytes / 2**30:.1f} GiB")
        ```

    Args:
        arguments: {name: value} of `Transformer`: those of `preset(name)`, and `vocabulary_size`.
        sentences: B, the sentence pairs of a batch.
        source_length: S, the positions of a source, with padding.
        target_length: T, those of a target.

    Returns:
        `Costs` of one update.
    """
    heads, d_model, d_ff = (arguments[name] for name in ("num_heads", "d_model", "d_ff"))
    d_k, d_v = (arguments.get(name) or d_model // heads for name in ("d_k", "d_v"))
    vocabulary_size = arguments.get("target_vocabulary_size") or arguments["vocabulary_size"]
    source, target = sentences * source_length, sentences * target_length

    def attention(queries, keys, key_length):
        """Operations and kept numbers of one attention."""
        maps = queries * d_model * heads * (d_k + d_v) + keys * d_model * heads * (d_k + d_v)
        pairs = queries * key_length * heads
        kept = queries * heads * (d_k + d_v) + keys * heads * (d_k + d_v) + pairs + 3 * queries * d_model
        return 2 * maps + 2 * pairs * (d_k + d_v), kept

    def feed_forward(tokens, width):
        return 4 * tokens * d_model * width, tokens * (width + 3 * d_model)

    window = arguments.get("window") or math.inf
    encoder = [attention(source, source, min(source_length, window)), feed_forward(source, d_ff)]
    decoder = [
        attention(target, target, min(target_length, (window + 1) / 2)),
        attention(target, source, source_length),
        feed_forward(target, arguments.get("decoder_d_ff") or d_ff),
    ]
    layers = encoder * arguments["num_encoder_layers"] + decoder * arguments["num_decoder_layers"]
    forward = sum(flops for flops, _ in layers) + 2 * target * d_model * vocabulary_size
    kept = sum(numbers for _, numbers in layers) + 2 * (source + target) * d_model
    parameters = count_parameters(**arguments)
    return Costs(parameters, round(3 * forward), COPIES * BYTES * parameters, round(BYTES * kept))
