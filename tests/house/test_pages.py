"""Each Python block in the documentation runs, a page from top to bottom."""

import importlib.util
import os
import subprocess
import sys

import pages
import pytest
import tiny
from kill_and_resume import config, free_ports
from processors import no_vnni
from xla_flags import QUICK_TO_COMPILE

# Pages that run in a process of their own, with variables of the environment.
OWN_PROCESS = {
    "guides/jax.md": lambda: {"KERAS_BACKEND": "jax", "XLA_FLAGS": QUICK_TO_COMPILE},
    "guides/several_devices.md": dict,  # a second strategy of this process would break the collectives of the first
    "guides/several_machines.md": lambda: {"TF_CONFIG": config(0, free_ports(1))},
}
# Entries of the template that a page makes itself.
WITHOUT = {"tutorials/first_model.md": ["runs"], "guides/resuming.md": ["runs"]}
NEEDS = {
    "guides/ctranslate2.md": ["ctranslate2"],
    "guides/marian.md": ["safetensors"],
}

RUN_ELSEWHERE = {"guides/portable.md"}  # by tests/conformance/test_portable.py

ALL = {
    str(path.relative_to(pages.DOCS)): path
    for path in sorted(pages.DOCS.rglob("*.md"))
    if pages.blocks(path.read_text(encoding="utf-8"), "python")
    and str(path.relative_to(pages.DOCS)) not in RUN_ELSEWHERE
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("pages") / "template"
    folder.mkdir()
    pages.write_texts(folder)
    pages.write_trees(folder)
    pages.write_models(folder)
    return folder


@pytest.mark.parametrize("name", ALL)
# Keras' own repair of tf2onnx asks NumPy for a name that it no longer has.
@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
def test_the_blocks_of_a_page_run(name, template, tmp_path, monkeypatch):
    if name == "guides/int8.md" and no_vnni:
        pytest.skip("integers are exact only with VNNI")
    for module in NEEDS.get(name, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    pages.prepare(tmp_path / "page", template, WITHOUT.get(name, ()))
    if name in OWN_PROCESS:
        environment = os.environ | OWN_PROCESS[name]() | {"PYTHONPATH": tiny.PYTHONPATH}
        command = [sys.executable, pages.__file__, name, str(tmp_path / "page")]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return
    monkeypatch.chdir(tmp_path / "page")
    with pages.stand_ins():
        pages.run_page(ALL[name])


def test_pages_are_found():
    assert len(ALL) > 10 and set(OWN_PROCESS) | set(WITHOUT) | set(NEEDS) <= set(ALL)


def test_a_block_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        '# A page\n```python\na = 1\n```\n\n=== "a tab"\n    ```python title="b.py"\n    b = a / 0\n    ```\n'
    )
    with pytest.raises(RuntimeError, match=r"page\.md, block 2: division by zero"):
        pages.run_page(page)
