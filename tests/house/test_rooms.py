"""The rules of the house that a test can check: imports, files of the repository, backends of the core."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from xla_flags import QUICK_TO_COMPILE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_transformer"

# Each room, and its imports. It may also import itself, keras, the standard library and keras_transformer.ids.
ROOMS = {
    # Rooms that need no other room, or only `files`.
    "ids": "",
    "inputs": "",
    "files": "inputs",
    "readers": "files inputs huggingface_hub kagglehub",  # the hubs' clients each in one function
    "console": "rich",
    "presets": "rich inputs",  # rich only inside functions
    "recipes": "yaml inputs",
    "schedules": "inputs",
    "evaluate": "sacrebleu sacremoses inputs",  # sacremoses in one function
    "plots": "matplotlib numpy inputs files",
    "backend": "numpy tensorflow tensorflow_text jax",  # all but numpy only inside functions
    # The core, which computes with `keras.ops`.
    "layers": "backend inputs",
    "losses": "backend inputs",
    "metrics": "losses",
    "decoding": "backend",
    "incremental": "layers backend",
    # tensorflow and jax only in the modules of that backend
    "train_step": "losses metrics schedules backend inputs numpy tensorflow jax",
    "model": "layers presets train_step backend inputs keras_files",
    "keras_files": "inputs backend",
    # The rooms around the core.
    "text": "tensorflow tensorflow_text sentencepiece numpy files inputs readers backend",
    "data": "tensorflow numpy rich console files inputs readers",
    "training": "tensorflow numpy rich console files inputs readers keras_files presets evaluate backend losses "
    "metrics model",
    # torch and huggingface_hub each in one function
    "interop": "numpy safetensors torch ctranslate2 keras_hub huggingface_hub tensorflow files inputs readers backend "
    "layers incremental text model",
    "export": "tensorflow numpy rich google tensorflow_serving console files inputs backend decoding incremental "
    "training",
    "translation": "tensorflow numpy rich console files inputs readers keras_files evaluate backend decoding "
    "incremental text model export",
    # nltk only inside functions; tensorflow and translation only in the parser and its graph
    "parsing": "nltk numpy tensorflow inputs files readers translation",
}
FACADES = {"__init__"}  # may import every room
CORE = {
    "backend",
    "decoding",
    "incremental",
    "layers",
    "losses",
    "metrics",
    "model",
    "presets",
    "schedules",
    "train_step",
}
# The rooms with a test folder that is marked as core. Other rooms' tests cover presets and the step.
CORE_TESTS = CORE - {"presets"}
MOST_ROOMS, MOST_STOREYS = 27, 9


def modules():
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def tree(path):
    return ast.parse((PACKAGE / path).read_text(encoding="utf-8"))


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imported(node):
    """The dotted names that a statement imports. A relative import keeps its dots."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [f"{module}.{alias.name}" for alias in node.names]
    return []


def names_in(nodes):
    return [name for node in nodes for name in imported(node)]


def outside_the_room(room, names):
    """Those of the names that the room may not import."""
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


def rooms():
    return sorted({room_of(path) for path in modules()} - FACADES)


def test_the_table_lists_the_rooms_that_exist():
    assert sorted(ROOMS) == rooms()
    assert len(rooms()) + len(FACADES) <= MOST_ROOMS


def storey(room, imports, above=()):
    """The storey of a room: one above the highest room that it imports.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    if room in above:
        raise ValueError(" -> ".join([*above[above.index(room) :], room]))
    return 1 + max((storey(other, imports, (*above, room)) for other in imports[room]), default=0)


def test_no_room_imports_upwards_and_the_house_is_not_too_high():
    found = {room: set() for room in ROOMS}
    for path in modules():
        if room_of(path) not in FACADES:
            names = (name.split(".") for name in names_in(ast.walk(tree(path))))
            found[room_of(path)] |= {name[1] for name in names if name[0] == "keras_transformer"}
    imports = {room: others - {room} for room, others in found.items()}
    assert max(storey(room, imports) for room in imports) <= MOST_STOREYS


def test_a_circle_is_found():
    assert storey("c", {"a": set(), "b": {"a"}, "c": {"a", "b"}}) == 3
    with pytest.raises(ValueError, match="b -> c -> b"):
        storey("a", {"a": {"b"}, "b": {"c"}, "c": {"b"}})


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("layers", "tensorflow.math"),
        ("layers", "keras_transformer.model.Transformer"),
        ("layers", "keras_transformer.Transformer"),
        ("layers", "numpy"),
        ("decoding", "keras_transformer.model"),
        ("data", "keras_transformer.text.tokenizer.Tokenizer"),
        ("export", "keras_transformer_cli.app"),
        ("plots", "examples.numbers_corpus"),
        ("model", ".layers.Encoder"),  # imports are written in full
    ],
)
def test_forbidden_imports_are_found(room, name):
    assert outside_the_room(room, [name, "keras.ops", "keras_transformer.ids.PAD", "pathlib.Path"]) == [name]


@pytest.mark.parametrize("path", modules(), ids=str)
def test_there_are_no_back_doors(path):
    source = (PACKAGE / path).read_text(encoding="utf-8")
    forbidden = r"keras\.src|pyplot" if room_of(path) == "__init__" else r"keras\.src|pyplot|import_module|__import__"
    assert re.findall(rf"\b(?:{forbidden})\b", source) == []


# In `train_step`, modules that are for one backend have names that begin with these.
OF_ONE_BACKEND = ("tensorflow_", "jax_")
core_modules = [path for path in modules() if room_of(path) in CORE and not path.name.startswith(OF_ONE_BACKEND)]


@pytest.mark.parametrize("path", core_modules, ids=str)
def test_the_core_never_imports_tensorflow_when_it_loads(path):
    names = [name for name in names_in(ast.walk(tree(path))) if name.startswith("tensorflow")]
    at_the_top = [name for name in names_in(tree(path).body) if name.startswith("tensorflow")]
    assert at_the_top == []
    assert names == [] or room_of(path) == "backend"


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
    tests = (ROOT / "tests").rglob("test_*.py")
    return {str(path.relative_to(ROOT)) for path in tests if mark.search(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize(("backend", "tests"), [("jax", "core"), ("torch", "core and not trains")])
def test_the_core_passes_its_tests_without_tensorflow(backend, tests):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    files = sorted(marked_as_core())
    assert {Path(file).parts[1] for file in files} == CORE_TESTS
    result = run(
        # In one process: two would compile many programs twice, and the other tests run at the same time.
        *("-m", "pytest", "-q", "-n", "0", "-m", tests, "-p", "no_tensorflow", "-p", "no:cacheprovider", *files),
        KERAS_BACKEND=backend,
        PYTHONPATH=tiny.PYTHONPATH,
        XLA_FLAGS=QUICK_TO_COMPILE,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert re.search(r"\b[1-9]\d* passed", result.stdout)


def tracked():
    """Every file that git tracks or would add."""
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
    lengths = {str(path): path.read_bytes().count(b"\n") for path in tracked() if path.suffix == ".py"}
    assert str(Path(__file__)) in lengths
    assert {name: length for name, length in lengths.items() if length > 350} == {}


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_finds_nothing(arguments):
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
