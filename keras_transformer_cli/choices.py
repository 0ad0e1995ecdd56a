"""The values of options that have a few."""

from enum import StrEnum

Schedule = StrEnum("Schedule", ["cosine", "paper"])
Monitor = StrEnum("Monitor", ["val_perplexity", "val_bleu"])
Subwords = StrEnum("Subwords", ["bpe", "unigram", "wordpiece"])
Normalization = StrEnum("Normalization", ["none", "nfc", "nfkc"])
LengthNormalization = StrEnum("LengthNormalization", ["gnmt", "power"])
Precision = StrEnum("Precision", ["auto", "float32", "mixed_bfloat16", "mixed_float16"])
Keep = StrEnum("Keep", ["best", "closest"])
Leaves = StrEnum("Leaves", ["places", "tags", "words"])
Storage = StrEnum("Storage", ["float32", "bfloat16", "float16", "int8"])
Format = StrEnum("Format", ["saved_model", "ctranslate2", "marian"])
