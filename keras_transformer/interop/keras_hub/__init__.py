"""keras-hub (formerly keras-nlp): a `Transformer` and its tokenizer as a task of keras-hub's own kind.

`as_task(model, tokenizer)` makes the task, `load(address)` gives the model and the tokenizer of a preset, and
`upload_preset` puts a preset's folder on a hub. Importing this module registers the classes, so that
`keras_hub.models.Seq2SeqLM.from_preset` finds them.
"""

from keras_transformer.interop.keras_hub.backbone import TransformerBackbone
from keras_transformer.interop.keras_hub.preprocessor import TransformerSeq2SeqLMPreprocessor
from keras_transformer.interop.keras_hub.presets import as_task, load, upload_preset
from keras_transformer.interop.keras_hub.task import TransformerSeq2SeqLM
from keras_transformer.interop.keras_hub.tokenizer import TransformerTokenizer

__all__ = [
    "TransformerBackbone",
    "TransformerSeq2SeqLM",
    "TransformerSeq2SeqLMPreprocessor",
    "TransformerTokenizer",
    "as_task",
    "load",
    "upload_preset",
]
