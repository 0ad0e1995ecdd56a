"""Table 3 of the paper: what each row changes, and what the authors measured."""

from dataclasses import dataclass, field

PAPER_BASE = {
    "num_encoder_layers": 6,
    "num_decoder_layers": 6,
    "d_model": 512,
    "num_heads": 8,
    "d_ff": 2048,
    "dropout": 0.1,
}
# The paper does not say how many positions row E learns. No pair of tensor2tensor's training is longer, and a
# translation may be 50 tokens longer than its source.
LEARNED_POSITIONS = 306


@dataclass(frozen=True)
class Row:
    """A row of Table 3, measured on newstest2013 without averaging.

    Attributes:
        perplexity: float, a word piece.
        bleu: float.
        millions: int, the parameters that the table names, in millions; None where it leaves the cell blank.
        changes: {name: value}, arguments of `Transformer` that differ from the base model's.
        label_smoothing: float, ε.
        steps: int, the updates of the training.
    """

    perplexity: float
    bleu: float
    millions: int | None = None
    changes: dict = field(default_factory=dict)
    label_smoothing: float = 0.1
    steps: int = 100_000


def _heads(number, width):
    return {"num_heads": number, "d_k": width, "d_v": width}


def _layers(number):
    return {"num_encoder_layers": number, "num_decoder_layers": number}


# {preset: row}, in the order of the table.
TABLE_3 = {
    "paper_base": Row(4.92, 25.8, 65),
    "paper_a1": Row(5.29, 24.9, changes=_heads(1, 512)),
    "paper_a2": Row(5.00, 25.5, changes=_heads(4, 128)),
    "paper_a3": Row(4.91, 25.8, changes=_heads(16, 32)),
    "paper_a4": Row(5.01, 25.4, changes=_heads(32, 16)),
    "paper_b1": Row(5.16, 25.1, 58, {"d_k": 16, "d_v": 64}),
    "paper_b2": Row(5.01, 25.4, 60, {"d_k": 32, "d_v": 64}),
    "paper_c1": Row(6.11, 23.7, 36, _layers(2)),
    "paper_c2": Row(5.19, 25.3, 50, _layers(4)),
    "paper_c3": Row(4.88, 25.5, 80, _layers(8)),
    "paper_c4": Row(5.75, 24.5, 28, {"d_model": 256, "d_k": 32, "d_v": 32}),
    "paper_c5": Row(4.66, 26.0, 168, {"d_model": 1024, "d_k": 128, "d_v": 128}),
    "paper_c6": Row(5.12, 25.4, 53, {"d_ff": 1024}),
    "paper_c7": Row(4.75, 26.2, 90, {"d_ff": 4096}),
    "paper_d1": Row(5.77, 24.6, changes={"dropout": 0.0}),
    "paper_d2": Row(4.95, 25.5, changes={"dropout": 0.2}),
    "paper_d3": Row(4.67, 25.3, label_smoothing=0.0),
    "paper_d4": Row(5.47, 25.7, label_smoothing=0.2),
    "paper_e": Row(4.92, 25.7, changes={"positions": "learned", "max_length": LEARNED_POSITIONS}),
    "paper_big": Row(4.33, 26.4, 213, {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "dropout": 0.3}, steps=300_000),
}
