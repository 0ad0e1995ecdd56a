"""The house rules that a machine can watch: who imports whom, what stands in the tree, where the core runs."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_transformer"

# Room: what it may import besides itself, keras, the standard library and keras_transformer.ids.
ROOMS = {
    "ids": "",
    "files": "",
    "presets": "",
    "parsing": "nltk",
    "scoped": "",
    "kernels": "scoped tensorflow jax",  # the last two inside its functions alone
    "xla": "jax",  # inside its functions alone
    "cross_entropy": "kernels",
    "chunked_loss": "kernels xla replicas cross_entropy scoped",
    "int8": "numpy kernels",
    "keras_files": "int8",
    "layers": "layers kernels xla chunked_loss int8",
    "decoder_state": "kernels",
    "model": "layers presets kernels int8 decoder_state training_step",
    "replicas": "tensorflow",  # inside its function alone
    "losses": "replicas scoped cross_entropy chunked_loss",
    "metrics": "losses cross_entropy chunked_loss",
    # The last two inside its functions.
    "training_step": "losses metrics chunked_loss replicas tensorflow_step jax_step",
    "tensorflow_step": "tensorflow losses kernels",
    "jax_step": "jax losses",
    "schedules": "",
    "decoding": "decoding kernels",
    "states": "numpy files",
    "averaging": "numpy model files states keras_files",
    # torch inside one function alone
    "interop": "interop numpy safetensors torch ctranslate2 model files text marian_subwords",
    "subwords": "tensorflow tensorflow_text sentencepiece numpy files",
    "marian_subwords": "tensorflow tensorflow_text sentencepiece numpy subwords files",
    "text": "tensorflow numpy subwords marian_subwords files",
    "buckets": "numpy",
    "order": "numpy",
    "store": "numpy files",
    "corpus": "tensorflow numpy rich files store",
    "batches": "tensorflow numpy order store",
    "data": "tensorflow numpy rich files buckets order store corpus batches",
    "training": "training tensorflow numpy rich losses metrics replicas schedules averaging files states model "
    "presets evaluate",
    "translation": "tensorflow numpy rich decoding model files int8 keras_files",
    "translate": "numpy decoding text files export translation",
    "evaluate": "sacrebleu",
    "export": "tensorflow files exporting",
    "exporting": "exporting tensorflow numpy rich google tensorflow_serving decoder_state decoding translation files "
    "training",
    "plots": "matplotlib numpy files",
}
FACADES = {"__init__", "cli"}  # may import every room
CORE = {
    "scoped",
    "kernels",
    "xla",
    "int8",
    "decoder_state",
    "layers",
    "model",
    "presets",
    "losses",
    "chunked_loss",
    "cross_entropy",
    "metrics",
    "schedules",
    "decoding",
    "replicas",
    "training_step",
}
CORE_TESTS = {
    "test_attention.py",
    "test_candidates.py",
    "test_chunked_loss.py",
    "test_decoder_state.py",
    "test_embedding.py",
    "test_encoder_decoder.py",
    "test_ensemble.py",
    "test_int8.py",
    "test_losses.py",
    "test_metrics.py",
    "test_model.py",
    "test_normalization.py",
    "test_sampling.py",
    "test_schedules.py",
    "test_rules.py",
    "test_search.py",
    "test_segments.py",
    "test_xla.py",
}


def modules():
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def tree(path):
    return ast.parse((PACKAGE / path).read_text(encoding="utf-8"))


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imported(node):
    """The dotted names that one statement imports; a relative import is spelt with its dots."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [f"{module}.{alias.name}" for alias in node.names]
    return []


def names_in(nodes):
    return [name for node in nodes for name in imported(node)]


def outside_the_room(room, names):
    """The names that the room may not import."""
    allowed = {"keras", "ids", room, *ROOMS[room].split()}
    wrong = []
    for name in names:
        first, *rest = name.split(".")
        target = rest[0] if first == "keras_transformer" else first
        inside = first == "keras_transformer" and target in ROOMS
        if not (target in allowed and inside == (target in ROOMS)) and first not in sys.stdlib_module_names:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", modules(), ids=str)
def test_each_module_imports_what_its_room_allows(path):
    room = room_of(path)
    if room in FACADES:
        return
    assert room in ROOMS, f"{path}: no such room; add it to the table, with what it may import"
    assert outside_the_room(room, names_in(ast.walk(tree(path)))) == []


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("layers", "tensorflow.math"),
        ("layers", "keras_transformer.model.Transformer"),
        ("layers", "keras_transformer.Transformer"),
        ("layers", "numpy"),
        ("decoding", "keras_transformer.model"),
        ("data", "keras_transformer.text.Tokenizer"),
        ("export", "keras_transformer.cli"),
        ("plots", "examples.numbers_corpus"),
        ("model", ".layers.Encoder"),  # written in full everywhere
    ],
)
def test_the_walk_finds_what_is_forbidden(room, name):
    assert outside_the_room(room, [name, "keras.ops", "keras_transformer.ids.PAD", "pathlib.Path"]) == [name]


@pytest.mark.parametrize("path", modules(), ids=str)
def test_there_are_no_back_doors(path):
    source = (PACKAGE / path).read_text(encoding="utf-8")
    forbidden = r"keras\.src|pyplot" if room_of(path) == "__init__" else r"keras\.src|pyplot|import_module|__import__"
    assert re.findall(rf"\b(?:{forbidden})\b", source) == []


@pytest.mark.parametrize("path", [path for path in modules() if room_of(path) in CORE], ids=str)
def test_the_core_never_imports_tensorflow_when_it_loads(path):
    names = [name for name in names_in(ast.walk(tree(path))) if name.startswith("tensorflow")]
    at_the_top = [name for name in names_in(tree(path).body) if name.startswith("tensorflow")]
    assert at_the_top == []
    assert names == [] or room_of(path) in ("kernels", "replicas")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )


def test_importing_the_package_loads_only_the_core():
    code = (
        "import sys, keras; before = set(sys.modules); import keras_transformer; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert "keras_transformer" in loaded
    edges = {
        "tensorflow",
        "tensorflow_text",
        "sentencepiece",
        "keras_hub",
        "keras_nlp",
        "matplotlib",
        "sacrebleu",
        "rich",
    }
    assert loaded & edges == set()


def marked_as_core():
    mark = re.compile(r"^pytestmark = \[?pytest\.mark\.core\b", re.MULTILINE)
    return {path.name for path in (ROOT / "tests").glob("test_*.py") if mark.search(path.read_text(encoding="utf-8"))}


QUICK_TO_COMPILE = (  # thousands of small programs that each run once: a third less time
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)


def test_the_core_passes_its_tests_on_jax_without_tensorflow():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[jax]'")
    assert marked_as_core() >= CORE_TESTS
    files = [f"tests/{name}" for name in sorted(marked_as_core())]
    result = run(
        # In one process: two would compile many programs twice, and the other tests go on beside it.
        *("-m", "pytest", "-q", "-n", "0", "-p", "no_tensorflow", "-p", "no:cacheprovider", *files),
        KERAS_BACKEND="jax",
        PYTHONPATH=str(ROOT / "tests"),
        XLA_FLAGS=" ".join(QUICK_TO_COMPILE),
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert re.search(r"\b[1-9]\d* passed", result.stdout)


def tracked():
    """Every file that git knows, or would add."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    return [path for path in (ROOT / os.fsdecode(name) for name in names if name) if path.exists()]


def test_no_file_speaks_of_one_machine_or_is_huge():
    assert ROOT / "pyproject.toml" in tracked()
    for path in tracked():
        data = path.read_bytes()
        assert len(data) < 2 << 20, f"{path} is over 2 MiB"
        assert not re.search(rb"(?<![\w.])/(?:work|root|home|Users)/", data), f"{path} names a path of one machine"


def test_no_source_file_is_over_350_lines():
    lengths = {path.name: path.read_bytes().count(b"\n") for path in tracked() if path.suffix == ".py"}
    assert Path(__file__).name in lengths
    assert {name: length for name, length in lengths.items() if length > 350} == {}


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_is_content(arguments):
    result = run("-m", "ruff", *arguments, "--no-cache", ".")
    assert result.returncode == 0, result.stdout + result.stderr


def test_ci_runs_the_second_command_of_the_readme():
    first = (
        'python3 -m venv .venv && .venv/bin/pip install -q -e ".[examples]" && .venv/bin/python examples/quickstart.py'
    )
    second = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1]
    assert second.endswith(".venv/bin/python -m pytest")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in readme if line.strip().startswith("python3 -m venv")]
    assert list(dict.fromkeys(commands)) == [first, second]
