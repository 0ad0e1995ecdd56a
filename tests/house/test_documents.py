"""Links, paths, commands with their options, and Python imports in the Markdown files must be right."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from pages import BLOCK, blocks

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/RESULTS.md")]
PAGES = sorted((ROOT / "docs").rglob("*.md"))  # `mkdocs build --strict` checks their links
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
each_page = pytest.mark.parametrize("path", [*DOCUMENTS, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))


def prose(text):
    return BLOCK.sub("", text)


def anchors(text):
    """The anchors that GitHub makes from the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    text = path.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


@each_document
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# One & two\n[a](#one--two) [b](a.md#one--two) [c](#one) [d](b.md) [e](https://example.org)\n")
    assert broken_links(path) == ["#one", "b.md"]


def missing_names(code):
    """Names that the code imports from this package and that do not exist.

    Raises:
        SyntaxError: the code is not Python.
    """
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "keras_transformer":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name) and not importlib.util.find_spec(f"{node.module}.{alias.name}"):
                    found.append(f"{node.module}.{alias.name}")
    return found


@each_page
def test_python_imports_names_that_exist(path):
    for code in blocks(path.read_text(encoding="utf-8"), "python"):
        assert missing_names(code) == [], code


def with_siblings(path):
    """The source of a script and of the modules in its folder that it imports."""
    source = path.read_text(encoding="utf-8")
    beside = [path.parent / f"{name}.py" for name in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)]
    return "\n".join([source, *(x.read_text(encoding="utf-8") for x in beside if x.exists())])


def unknown_options(command):
    """The options of a command that its script does not have, or the script itself if it does not exist.

    Options after `--` are of the command that the script starts.
    """
    words = command.partition(" -- ")[0].split()
    scripts = [word for word in words if re.fullmatch(r"(?:benchmarks|examples|tests)/[\w/]+\.py", word)]
    if not scripts:
        return []
    if not (ROOT / scripts[0]).is_file():
        return scripts
    source = with_siblings(ROOT / scripts[0])
    options = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    return [o for o in options if not re.search(rf"--{o}\b|\b{o.replace('-', '_')}:", source)]


@each_page
def test_scripts_have_the_options_of_their_commands(path):
    text = path.read_text(encoding="utf-8")
    inline = [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose(text))]
    fenced = "\n".join(blocks(text, "") + blocks(text, "bash")).replace("\\\n", " ").splitlines()
    commands = [line for line in fenced + inline if "python " in line]
    assert {command: bad for command in commands if (bad := unknown_options(command))} == {}


def test_an_unknown_option_is_found():
    assert unknown_options("python benchmarks/decode.py --output DIR --sceonds 1") == ["sceonds"]
    assert unknown_options("python benchmarks/decoed.py --output DIR") == ["benchmarks/decoed.py"]


def test_the_section_where_things_are_names_paths_that_exist():
    text = (ROOT / "docs/explanation/design.md").read_text(encoding="utf-8")
    section = text.partition("## Where things are\n")[2].partition("\n## ")[0]
    names = [
        name
        for row in section.splitlines()[2:]
        for name in re.findall(r"`([^`]+)`", row.split("|")[2] if "|" in row else "")
    ]
    assert len(names) > 20
    assert [
        name for name in names if not any((folder / name).exists() for folder in (ROOT, ROOT / "keras_transformer"))
    ] == []
