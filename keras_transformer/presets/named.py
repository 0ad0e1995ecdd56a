"""Named sets of `Transformer` arguments: data only."""

from typing import Any

from keras_transformer.inputs.options import nearest
from keras_transformer.presets.table_3 import PAPER_BASE, TABLE_3


def _paper(**changes):
    return {**PAPER_BASE, **changes}


SMALL_STUDENT = {"d_model": 256, "num_heads": 4, "d_ff": 1024}
PRESETS = {
    **{name: _paper(**row.changes) for name, row in TABLE_3.items()},
    # The big model for English to French has less dropout (section 6.1).
    "paper_big_en_fr": _paper(**TABLE_3["paper_big"].changes | {"dropout": 0.1}),
    # Section 6.3: 4 layers of d_model 1024. The paper says that all else is as in the base model, so the heads stay 8.
    "parsing": _paper(num_encoder_layers=4, num_decoder_layers=4, d_model=1024),
    # Section 6.3 for some ten thousand trees and the processor of a laptop.
    "parsing_small": _paper(
        num_encoder_layers=4, num_decoder_layers=4, d_model=256, num_heads=4, d_ff=1024, dropout=0.1
    ),
    # Wu et al. 2021, "Good for Misconceived Reasons", Transformer-Tiny.
    "multi30k_tiny": _paper(
        num_encoder_layers=4, num_decoder_layers=4, d_model=128, num_heads=4, d_ff=256, dropout=0.3
    ),
    # A first choice for some ten thousand sentence pairs and the processor of a laptop.
    "multi30k_small": _paper(
        num_encoder_layers=3, num_decoder_layers=3, d_model=256, num_heads=4, d_ff=512, dropout=0.2
    ),
    # Students: an encoder as deep as the teacher's, and few decoder layers, because those work token by token.
    "student_6_2": _paper(num_decoder_layers=2),
    "student_6_1": _paper(num_decoder_layers=1),
    "student_12_1": _paper(num_encoder_layers=12, num_decoder_layers=1),
    "student_256_6_2": _paper(num_decoder_layers=2, **SMALL_STUDENT),
    "student_256_6_1": _paper(num_decoder_layers=1, **SMALL_STUDENT),
    # Learns the corpus of examples/quickstart.py within minutes on two cores.
    "quickstart": _paper(num_encoder_layers=2, num_decoder_layers=2, d_model=128, num_heads=4, d_ff=256, dropout=0.0),
}


def preset(name: str) -> dict[str, Any]:
    """The arguments of a preset, as a new dictionary.

    Example:
        ```python
        from keras_transformer.presets import preset

        assert preset("paper_b1")["d_k"] == 16  # row B of Table 3
        ```

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in PRESETS:
        hint = nearest(name, PRESETS)
        raise ValueError(f"unknown preset {name!r}.{hint} Known presets: {', '.join(sorted(PRESETS))}.")
    return dict(PRESETS[name])
