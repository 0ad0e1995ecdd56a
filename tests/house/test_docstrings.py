"""Each example in a docstring runs as written, and each public name has an example."""

import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

import keras_transformer

# The public names, by the module from which a user imports them.
PUBLIC = {
    "keras_transformer": keras_transformer.__all__,
    "keras_transformer.interop.keras_hub": [
        "TransformerBackbone",
        "TransformerSeq2SeqLM",
        "TransformerSeq2SeqLMPreprocessor",
        "TransformerTokenizer",
        "as_task",
        "load",
    ],
    "keras_transformer.parsing": [
        "clean_tree",
        "draw_tree",
        "evaluate_trees",
        "read_trees",
        "to_tokens",
        "to_tree",
        "tokenizer_options",
        "tree_pairs",
        "words_of",
        "write_tree_pairs",
    ],
    "keras_transformer.training": [
        "AverageWeights",
        "Checkpoint",
        "HistoryFile",
        "SampleTranslations",
        "StopOnNaN",
        "TensorBoardLog",
        "Throughput",
        "TrainingProgress",
        "ValidationBLEU",
    ],
}
# A line "Example:", then an indented, fenced block.
EXAMPLE = re.compile(r"^( *)Example:\n\n?\s*```python\n(.*?)^\s*```$", re.MULTILINE | re.DOTALL)


def examples_in(docstring):
    """The code of the examples in a docstring."""
    return [textwrap.dedent(code) for _, code in EXAMPLE.findall(inspect.cleandoc(docstring or ""))]


def test_no_docstring_gives_a_translator_one_string():
    """A translator takes a list. Blocks without a fence, which need a download, do not run as tests."""
    assert [name for name, text in documented().items() if re.search(r"translator\(f?[\"']", text or "")] == []


def documented():
    """{name: docstring} of everything that the package defines, with methods."""
    docstrings = {}
    for info in pkgutil.walk_packages(keras_transformer.__path__, "keras_transformer."):
        if info.name.endswith(("session_check", "jax_step")):  # the first is a program, the second needs JAX
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != info.name:
                continue
            docstrings[f"{info.name}.{name}"] = inspect.getdoc(value)
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    docstrings[f"{info.name}.{name}.{method}"] = getattr(function, "__doc__", None)
    return docstrings


EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name, docstring in documented().items()
    for number, code in enumerate(examples_in(docstring))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_as_written(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_a_public_name_has_an_example_of_three_to_eight_lines(module, name):
    examples = examples_in(getattr(importlib.import_module(module), name).__doc__)
    assert examples, "write one under a line «Example:»"
    lines = [line for line in examples[0].splitlines() if line.strip()]
    assert 3 <= len(lines) <= 8


def test_an_example_is_found():
    docstring = """Adds.

    Example:
        ```python
        import math

        x = math.pi
        ```

    Args:
        x: a number.
    """
    assert examples_in(docstring) == ["import math\n\nx = math.pi\n"]
    assert examples_in("Example: none.") == []
