"""Each notebook of `examples/notebooks` is kept without outputs, and runs from top to bottom on small settings.

A notebook has one cell with the tag "parameters", which sets what the notebook depends on. The metadata of this cell
has smaller values for the test: `"small": {"EPOCHS": 1}`.
"""

import ast
import functools
import os
import shutil
import tomllib
import zipfile
from pathlib import Path

import nbformat
import numbers_corpus
import pytest
from nbclient import NotebookClient

from keras_transformer_cli.quiet import NOTES, NOTES_WITHOUT_GPU

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
COLAB = "https://colab.research.google.com"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def parameters_cell(book):
    [cell] = [cell for cell in code_cells(book) if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_there_are_notebooks():
    assert [path.name[0] for path in NOTEBOOKS] == list("123456")


@each_notebook
def test_a_notebook_is_valid_and_kept_without_outputs(path):
    book = read(path)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert book.metadata.kernelspec.name == "python3"
    assert [(cell.outputs, cell.execution_count) for cell in code_cells(book)] == [([], None)] * len(code_cells(book))


@each_notebook
def test_a_notebook_opens_in_colab_and_installs_there(path):
    book = read(path)
    address = REPOSITORY.replace("https://github.com", f"{COLAB}/github", 1)
    target = f"{address}/blob/main/examples/notebooks/{path.name}"
    assert book.cells[0].source.startswith(f"[![Open In Colab]({COLAB}/assets/colab-badge.svg)]({target})\n\n# ")
    install = code_cells(book)[0].source
    assert 'if importlib.util.find_spec("keras_transformer") is None:' in install
    assert f" {REPOSITORY}\n" in install


def assigned(source):
    """The names that a cell assigns."""
    targets = [target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


@each_notebook
def test_small_settings_are_parameters(path):
    cell = parameters_cell(read(path))
    assert set(cell.metadata["small"]) <= assigned(cell.source)


def write_downloads(folder):
    """Write what notebooks download, as small local files: an archive of sentence pairs, and a Marian folder."""
    pairs = numbers_corpus.make_corpus(400)
    with zipfile.ZipFile(folder / "spa-eng.zip", "w") as archive:
        archive.writestr("spa-eng/spa.txt", "".join(f"{source}\t{target}\n" for source, target in pairs))
    shutil.copytree(ROOT / "tests" / "support" / "recorded_marian", folder / "opus")


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
    """A function that executes a notebook once on its small settings, in a folder of its own."""

    @functools.cache
    def execute(path):
        book, folder = read(path), tmp_path_factory.mktemp(path.stem)
        write_downloads(folder)
        cell = parameters_cell(book)
        cell.source += "".join(f"\n{name} = {value!r}" for name, value in cell.metadata["small"].items())
        folders = os.environ["PYTHONPATH"], ROOT, ROOT / "examples"
        environment = {
            "CUDA_VISIBLE_DEVICES": "",
            "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
        }
        client = NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}})
        return client.execute(env=os.environ | environment)

    return execute


def complaints(book):
    """The lines on standard error of an executed notebook, without what TensorFlow prints when it starts."""
    notes = [*NOTES, *NOTES_WITHOUT_GPU]
    outputs = [output for cell in code_cells(book) for output in cell.outputs if output.get("name") == "stderr"]
    lines = [line for output in outputs for line in output.text.splitlines()]
    return [line for line in lines if line.strip() and not any(note in line for note in notes)]


@each_notebook
def test_a_notebook_runs_from_top_to_bottom_without_warnings(path, execute):
    book = execute(path)
    assert complaints(book) == []
    assert all(cell.execution_count for cell in code_cells(book))


def test_a_warning_in_a_notebook_is_found():
    stream = nbformat.v4.new_output("stream", name="stderr", text=f"W0000 {NOTES[1]}\nUserWarning: deprecated\n")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[stream])])
    assert complaints(book) == ["UserWarning: deprecated"]


def pictures(cells):
    return sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


def test_each_idea_has_a_formula_a_picture_and_an_exercise_with_its_answer(execute):
    [path] = [path for path in NOTEBOOKS if path.name == "1_the_transformer_idea_by_idea.ipynb"]
    cells = execute(path).cells
    starts = [number for number, cell in enumerate(cells) if cell.source.startswith("## ")]
    sections = {
        cells[start].source.splitlines()[0]: cells[start:end]
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    }
    ideas = {title: section for title, section in sections.items() if title[3].isdigit()}
    assert [title.split(".")[0] for title in ideas] == [f"## {number}" for number in range(1, 14)]
    for title, section in ideas.items():
        text = "\n".join(cell.source for cell in section if cell.cell_type == "markdown")
        assert pictures(section) >= 1, title
        assert "$" in text and "**Exercise.**" in text and "<summary>Answer</summary>" in text, title
    assert sections["## Glossary"][0].source.count("\n|") == 2 + 12


def test_the_page_of_attention_is_shown_inline(execute):
    [path] = [path for path in NOTEBOOKS if path.name == "3_decode_and_look_inside.ipynb"]
    outputs = [output for cell in code_cells(execute(path)) for output in cell.outputs if "data" in output]
    assert any(output.data.get("text/html", "").startswith("<iframe ") for output in outputs)
