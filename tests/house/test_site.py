"""The documentation builds without a warning, and says what the code says: names, options, presets, messages, rooms."""

import ast
import inspect
import os
import re
import subprocess
import sys
import zlib
from dataclasses import fields
from pathlib import Path

import draw_rooms
import pytest
import test_rooms

from keras_transformer import Translator
from keras_transformer.export import Batching, export
from keras_transformer.export.readme import SIGNATURES
from keras_transformer.presets import PRESETS, TABLE_3, count_parameters
from keras_transformer.translation.options import SearchOptions

ROOT = Path(__file__).parents[2]
DOCS, PACKAGE = ROOT / "docs", ROOT / "keras_transformer"
# Modules without `__all__` whose functions and classes are all public.
PUBLIC_MODULES = ["interop/ctranslate2.py"]
MORE_NAMES = ["keras_transformer.schedules.named_schedule"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built strictly: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def names_of(path):
    """The names of a module's `__all__`; without one, of its functions and classes."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    if str(path.relative_to(PACKAGE)) not in PUBLIC_MODULES:
        return []
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]


def public_names():
    """The full names of what is public: of the package, its rooms, and the modules that a user imports."""
    paths = [*PACKAGE.rglob("__init__.py"), *PACKAGE.glob("interop/*.py"), *(PACKAGE / name for name in PUBLIC_MODULES)]
    paths = sorted(set(paths))
    modules = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    found = [f"{modules[path].removesuffix('.__init__')}.{name}" for path in paths for name in names_of(path)]
    return [*found, *MORE_NAMES]


def documented_names(site):
    """The names that the reference describes, from the inventory of the site."""
    data = (site / "objects.inv").read_bytes().partition(b"zlib.\n")[2]
    return {line.split()[0] for line in zlib.decompress(data).decode().splitlines()}


def test_the_reference_has_each_public_name(site):
    documented, expected = documented_names(site), public_names()
    assert len(expected) > 60 and "keras_transformer.training.Checkpoint" in expected
    last_parts = {name.rpartition(".")[2] for name in documented}
    missing = [
        name
        for name in expected
        # The package has some names lazily, so the reference has them from their rooms.
        if not (name in documented or (name.count(".") == 1 and name.rpartition(".")[2] in last_parts))
    ]
    assert missing == [], "describe them in docs/reference/api/, with a line «::: name»"


def test_the_reference_has_each_method_of_a_translator(site):
    """The page lists them, so that a call comes first."""
    methods = {name for name, _ in inspect.getmembers(Translator, callable) if name[0] != "_"}
    methods -= {"log_probabilities_and_attention"}  # for the graph of an export
    missing = {f"keras_transformer.translation.Translator.{name}" for name in methods} - documented_names(site)
    assert missing == set(), "list them in docs/reference/api/translation.md"


def test_docstrings_have_special_pieces_in_backquotes():
    """A page would take `</s>` for a tag of HTML, and not show it."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = re.sub(r"```.*?```|`[^`]*`", "", ast.get_docstring(node) or "", flags=re.DOTALL)
                found += [f"{path.name}: {tag}" for tag in re.findall(r"</?[a-z][^>\n]*>", text)]
    assert found == []


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="(?:https?:)?//[^"]+', html) == []


def test_the_picture_shows_the_rooms_of_the_table():
    drawn = draw_rooms.draw(test_rooms.ROOMS, test_rooms.CORE)
    assert draw_rooms.PICTURE.read_text(encoding="utf-8") == drawn, "run python tests/support/draw_rooms.py"


def test_a_picture_shows_only_imports_that_no_other_arrow_shows():
    imports = {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert draw_rooms.arrows(imports) == [("b", "a"), ("c", "b")]
    assert draw_rooms.places(imports) == {"a": (0, 0), "b": (0, 1), "c": (0, 2)}


def rows(page, heading):
    """The rows of the tables in a section of a page, as lists of texts without backquotes."""
    text = "\n" + (DOCS / page).read_text(encoding="utf-8")
    section = text.partition(f"\n{heading}\n")[2]
    section = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("heading", "defaults"),
    [
        ("## Of a translator", {field.name: field.default for field in fields(SearchOptions)}),
        (
            "## Of an export",
            {
                name: parameter.default
                for name, parameter in inspect.signature(export).parameters.items()
                if parameter.default is not parameter.empty
            }
            | {field.name: field.default for field in fields(Batching)},
        ),
    ],
)
def test_the_options_and_their_defaults_are_in_the_tables(heading, defaults):
    shown = {row[0]: row[1] for row in rows("reference/options.md", heading) if row[0] != "option"}
    texts = {name: "none" if value is None else str(value) for name, value in defaults.items()}
    texts = {name: re.sub(r"\.0$", "", text) for name, text in texts.items()}
    assert {name: text.strip('"') for name, text in shown.items()} == texts


def test_the_presets_are_in_the_table():
    shown = {row[0]: row[1:7] for row in rows("reference/presets.md", "# Presets") if row[0] != "preset"}
    assert shown == {
        name: [
            f"{preset['num_encoder_layers']} + {preset['num_decoder_layers']}",
            *(str(preset[key]) for key in ("d_model", "d_ff", "num_heads", "dropout")),
            f"{count_parameters(37_000, **preset):,}",
        ]
        for name, preset in PRESETS.items()
    }


def test_table_3_is_in_the_table():
    shown = {row[0]: row[2:6] for row in rows("reference/presets.md", "## Table 3 of the paper") if row[0] != "preset"}
    assert shown == {
        name: [f"{row.perplexity:.2f}", str(row.bleu), str(row.millions or ""), f"{counted:,}"]
        for name, row in TABLE_3.items()
        for counted in [count_parameters(41_100, **PRESETS[name])]
    }


def test_the_signatures_are_in_the_table():
    shown = [row[0] for row in rows("reference/signatures.md", "# Signatures of an export")]
    assert shown[1:] == list(SIGNATURES)


def messages():
    """The texts of the source of the package and of the command line, with "…" in place of values."""

    def text_of(node):
        if isinstance(node, ast.JoinedStr):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [text_of(side) for side in (node.left, node.right)]
            return None if sides == [None, None] else "".join(side or "…" for side in sides)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    paths = [*PACKAGE.rglob("*.py"), *(ROOT / "keras_transformer_cli").glob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    return {text for tree in trees for node in ast.walk(tree) if (text := text_of(node))}


def test_the_messages_on_the_page_of_errors_are_those_of_the_code():
    page = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    known = "\n".join(messages())
    assert len(shown) > 40
    assert [message for message in shown if message not in known] == []
