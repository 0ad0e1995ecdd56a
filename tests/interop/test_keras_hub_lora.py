"""A task of keras-hub whose model gets weights of LoRA after its first texts."""

import numpy as np
import tiny

from keras_transformer import Translator
from keras_transformer.interop import keras_hub as ours

SOURCES = [source for source, _ in tiny.digit_pairs(9, seed=5)]
EXTRA = 4  # tokens that a translation may have more than its source


def test_generate_is_compiled_again_after_lora(tmp_path):
    model, tokenizer = tiny.make_opinionated(seed=2), tiny.make_tokenizer(tmp_path)
    task = ours.as_task(model, tokenizer, max_extra_length=EXTRA)
    before = task.generate(SOURCES)
    projection = model.decoder.layers[0].self_attention.value_projection
    projection.enable_lora(2)
    projection.lora_kernel_a.assign(np.full(projection.lora_kernel_a.shape, 2.0))
    projection.lora_kernel_b.assign(np.random.default_rng(0).normal(size=projection.lora_kernel_b.shape))
    assert task.generate(SOURCES) == Translator(model, tokenizer, beam_size=1, max_extra_length=EXTRA)(SOURCES)
    assert task.generate(SOURCES) != before
