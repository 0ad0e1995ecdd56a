"""transformers' Marian model in our presets' sizes, for the scripts that compare with it.

Neither Keras nor our package is imported: their memory would count as PyTorch's.
"""

PAD, START, END = 0, 2, 3  # as in keras_transformer.ids


def marian_model(sizes, vocabulary_size, **options):
    """A `MarianMTModel` of random weights that begins with START and ends with END.

    Args:
        sizes: `d_model`, `d_ff`, `num_heads`, `num_encoder_layers` and `num_decoder_layers`; others are not looked at.
        vocabulary_size: V.
        options: more of `MarianConfig`.
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
