"""The Marian model of transformers in the sizes of our presets, for the scripts that compare with it.

This module must not import Keras or our package. Otherwise their memory would count as PyTorch's.
"""

PAD, START, END = 0, 2, 3  # as in keras_transformer.ids


def marian_model(sizes, vocabulary_size, **options):
    """Return a `MarianMTModel` with random weights. Its sequences begin with START and end with END.

    Args:
        sizes: `d_model`, `d_ff`, `num_heads`, `num_encoder_layers` and `num_decoder_layers`. Other keys are ignored.
        vocabulary_size: V.
        options: further arguments of `MarianConfig`.
    """
    from transformers import MarianConfig, MarianMTModel

    sides = {}
    for side in ("encoder", "decoder"):
        sides[f"{side}_layers"] = sizes[f"num_{side}_layers"]
        sides[f"{side}_attention_heads"] = sizes["num_heads"]
        sides[f"{side}_ffn_dim"] = sizes["d_ff"]
    ids = {"pad_token_id": PAD, "decoder_start_token_id": START, "eos_token_id": END, "forced_eos_token_id": None}
    defaults = {"activation_function": "relu", **ids}
    return MarianMTModel(
        MarianConfig(vocab_size=vocabulary_size, d_model=sizes["d_model"], **sides, **{**defaults, **options})
    )
