"""From a model and its tokenizer to a task of keras-hub and back, and onto a hub."""

import json
from typing import Any

import keras_hub

from keras_transformer.inputs.addresses import FORMS, read_address
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.inputs.tokenizers import check_sizes, check_tokenizer
from keras_transformer.interop.keras_hub.backbone import TransformerBackbone
from keras_transformer.interop.keras_hub.preprocessor import TransformerSeq2SeqLMPreprocessor
from keras_transformer.interop.keras_hub.task import TransformerSeq2SeqLM
from keras_transformer.interop.keras_hub.tokenizer import TransformerTokenizer
from keras_transformer.model import Transformer
from keras_transformer.text import Tokenizer, TokenizerPair


def as_task(
    model: Transformer, tokenizer: Tokenizer | TokenizerPair, max_extra_length: int = 50
) -> TransformerSeq2SeqLM:
    """A `TransformerSeq2SeqLM` of a model and its tokenizer. The task and the model share their weights.

    Args:
        model: a `Transformer`.
        tokenizer: the `Tokenizer` or the `TokenizerPair` that it was trained with.
        max_extra_length: a generated text has at most this many tokens more than its source.

    Raises:
        TypeError: one of them is something else.
        ValueError: a tokenizer of another size than the model's vocabulary; a model in 8-bit integers, or with a
            method of its own that cached decoding cannot follow.

    Example:
        ```python
        import keras_hub
        from keras_transformer import Tokenizer, Transformer
        from keras_transformer.interop.keras_hub import as_task

        tokenizer = Tokenizer.train(["one two three", "four five six"], vocabulary_size=280)
        task = as_task(Transformer.from_preset("quickstart", vocabulary_size=280), tokenizer, max_extra_length=5)
        task.save_to_preset("one_two")
        same = keras_hub.models.Seq2SeqLM.from_preset("one_two")
        assert same.generate(["one"]) == task.generate(["one"])
        ```
    """
    backbone = TransformerBackbone(model)
    check_tokenizer(tokenizer, "as_task(model, tokenizer)")
    check_sizes(model, tokenizer)
    preprocessor = TransformerSeq2SeqLMPreprocessor(TransformerTokenizer(tokenizer), max_extra_length=max_extra_length)
    return TransformerSeq2SeqLM(backbone, preprocessor)


def load(preset: AnyPath, dtype: Any = None) -> tuple[Transformer, Tokenizer | TokenizerPair]:
    """The `Transformer` and the tokenizer of a preset, for `Translator`, training or an export.

    `hf://` and `kaggle://` need the network.

    Args:
        preset: a folder that `save_to_preset` wrote, "hf://user/model", or "kaggle://user/model/keras/variation".
        dtype: a Keras dtype policy. The default is the current one.

    Raises:
        ValueError: a preset of another model, and what keras-hub raises.
        TypeError: `preset` is no path.
        OSError: no such folder, or it holds no preset.

    Example:
        ```python
        from keras_transformer import Tokenizer, Transformer, Translator
        from keras_transformer.interop import keras_hub

        tokenizer = Tokenizer.train(["one two three", "four five six"], vocabulary_size=280)
        keras_hub.as_task(Transformer.from_preset("quickstart", vocabulary_size=280), tokenizer).save_to_preset("one")
        translator = Translator(*keras_hub.load("one"), max_extra_length=5)
        ```
    """
    if read_address(preset, "preset") is None:
        folder = check_source(preset, "folder", "preset")
        if not (folder / "task.json").is_file():
            rule = "Give a folder that save_to_preset wrote."
            raise FileNotFoundError(f"preset={str(preset)!r} holds no task.json. {rule}")
    task = keras_hub.models.Seq2SeqLM.from_preset(str(preset), **({} if dtype is None else {"dtype": dtype}))
    if not isinstance(task, TransformerSeq2SeqLM):
        raise ValueError(f"preset={preset!r} holds a {type(task).__name__}, not a model of keras_transformer.")
    return task.backbone.transformer, task.preprocessor.tokenizer.tokenizer


CARD = """---
library_name: keras-hub
pipeline_tag: translation
---
A Transformer of [Attention Is All You Need](https://arxiv.org/abs/1706.03762), made with keras_transformer.
`pip install keras-transformer-translation huggingface_hub`, then:

```python
import keras_hub
import keras_transformer.interop.keras_hub

task = keras_hub.models.Seq2SeqLM.from_preset("{uri}")
print(task.generate(["..."]))
```
"""


def upload_preset(uri: str, preset: AnyPath) -> None:
    """Put a folder that `save_to_preset` wrote on a hub, by `keras_hub.upload_preset`. This needs the network.

    One must be logged in, with `hf auth login` or `kagglehub.login()`. A repository of Hugging Face that has no
    README.md gets one that says how to load the model: keras-hub's own would not name this package.

    Args:
        uri: "hf://user/model", or "kaggle://user/model/keras/variation".
        preset: the folder.

    Raises:
        ValueError: no such address, or a folder that is no preset of keras_transformer.
        OSError: no such folder, or no permission to read it.
        ImportError: the hub's package is not installed. The message says how to install it.

    Example, after `hf auth login`:

        task.save_to_preset("en_de")
        upload_preset("hf://user/en_de", "en_de")
    """
    address = read_address(uri, "uri")
    if address is None or address.revision is not None:
        raise ValueError(f"uri={uri!r} is no address to put a model at. Write {' or '.join(FORMS.values())}.")
    _check_preset(check_source(preset, "folder", "preset"))
    if address.hub == "hf":
        _add_card(address.handle, uri)
    keras_hub.upload_preset(uri, str(preset))


def _check_preset(folder):
    """Refuse a folder that holds no preset of this package."""
    try:
        name = json.loads((folder / "config.json").read_bytes())["registered_name"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    if name != "keras_transformer>TransformerBackbone":
        raise ValueError(f"preset={str(folder)!r} is no preset of keras_transformer. Write one: task.save_to_preset().")


def _add_card(handle, uri):
    """Give a repository of Hugging Face a README.md if it has none."""
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ImportError(f"uri={uri!r} needs huggingface_hub: pip install huggingface_hub") from error
    repository = huggingface_hub.create_repo(repo_id=handle, exist_ok=True).repo_id
    if not huggingface_hub.file_exists(repository, "README.md"):
        card = CARD.format(uri=uri).encode()
        huggingface_hub.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repository)
