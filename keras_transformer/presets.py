"""Named sets of `Transformer` arguments: data only."""

PAPER_BASE = {
    "num_encoder_layers": 6,
    "num_decoder_layers": 6,
    "d_model": 512,
    "num_heads": 8,
    "d_ff": 2048,
    "dropout": 0.1,
}


def _paper(**changes):
    return {**PAPER_BASE, **changes}


PRESETS = {
    "paper_base": _paper(),
    "paper_big": _paper(d_model=1024, num_heads=16, d_ff=4096, dropout=0.3),
    # Wu et al. 2021, "Good for Misconceived Reasons", Transformer-Tiny.
    "multi30k_tiny": _paper(
        num_encoder_layers=4, num_decoder_layers=4, d_model=128, num_heads=4, d_ff=256, dropout=0.3
    ),
    # A first choice for some ten thousand sentence pairs and the processor of a laptop.
    "multi30k_small": _paper(
        num_encoder_layers=3, num_decoder_layers=3, d_model=256, num_heads=4, d_ff=512, dropout=0.2
    ),
    # Learns the corpus of examples/quickstart.py within minutes on two cores.
    "quickstart": _paper(num_encoder_layers=2, num_decoder_layers=2, d_model=128, num_heads=4, d_ff=256, dropout=0.0),
}


def preset(name):
    """The arguments of a preset, as a new dictionary.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}. Known presets: {', '.join(sorted(PRESETS))}.")
    return dict(PRESETS[name])
