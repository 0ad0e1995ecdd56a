"""The wheel and the sdist hold what git tracks in the packages, and a type checker sees the public interface."""

import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import venv
import zipfile
from dataclasses import fields
from email.parser import Parser
from pathlib import Path

import pytest

import keras_transformer
from keras_transformer.translation.options import AllOptions, SearchOptions

ROOT = Path(__file__).parents[2]
# What `pip wheel .` and `python -m build` call.
BUILD = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"


def tracked(*patterns):
    """The files that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return {name for name in names if name and (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The paths of the wheel and of the sdist, built from a copy of the files that git knows, without the network."""
    copy, output = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    run = subprocess.run([sys.executable, "-c", BUILD, str(output)], cwd=copy, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return next(output.glob("*.whl")), next(output.glob("*.tar.gz"))


def package_files():
    """The files of the packages that are installed: `keras_transformer` and those beside it."""
    return tracked("keras_transformer*/**")


def test_the_wheel_holds_the_packages_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    assert names == package_files()
    assert "keras_transformer/py.typed" in names and any(name.endswith(".txt") for name in names)


def test_the_sdist_holds_the_packages_and_what_builds_them(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    files = {name for name in names if "." in Path(name).name or Path(name).name in ("LICENSE", "PKG-INFO")}
    files = {name for name in files if ".egg-info" not in name}
    assert files == package_files() | {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_the_metadata_says_what_the_project_is(built):
    with zipfile.ZipFile(built[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "keras-transformer-translation"
    assert metadata["Version"] == keras_transformer.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    classifiers = metadata.get_all("Classifier")
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers
    assert "Typing :: Typed" in classifiers


PROGRAM = """
    import keras_transformer
    from keras_transformer import (
        LabelSmoothedCrossEntropy, MultiHeadAttention, Tokenizer, TokenizerPair, Transformer, TransformerSchedule,
        Translator, parallel_corpus, plots,
    )
    from keras_transformer.evaluate import evaluate
    from keras_transformer.interop import marian
    from keras_transformer.interop.keras_hub import as_task
    from keras_transformer.training import Checkpoint, ValidationBLEU

    tokenizer = Tokenizer.train(["train.en", "train.de"], vocabulary_size=500)
    ids: list[int] = tokenizer.encode("a cat")
    rows: list[list[int]] = tokenizer.encode(["a cat", "a dog"])
    text: str = tokenizer.decode(ids)
    corpus = parallel_corpus("train.en", ["train.de"], tokenizer, tokens_per_batch=4096)
    model = Transformer.from_preset("quickstart", vocabulary_size=tokenizer.vocabulary_size)
    schedule = TransformerSchedule.with_peak(1e-3, model.d_model)
    model.compile("adam", loss=LabelSmoothedCrossEntropy(0.1), accumulate_steps=2)
    translator = Translator(model, tokenizer, beam_size=4, no_repeat_ngram=3)
    model.fit(corpus, callbacks=[
        Checkpoint("run", tokenizer, monitor="val_bleu"), ValidationBLEU(translator, ["a cat"], ["eine Katze"]),
    ])
    texts: list[str] = translator(["a cat", "the dog"])
    best: float = translator.n_best(("a cat",), 2)[0][0].score
    bleu: float = evaluate(translator(line for line in ["a cat"]), ["eine Katze"]).bleu
    source, target, weights = translator.attention("a cat", texts[0])
    plots.attention_map(weights["cross"][0], source, target, path="map.png")
    Translator.load("hf://user/model", beam_size=1, length_normalization="power").export("export/1", precision="int8")
    loaded, its_tokenizer = marian.load("opus")
    as_task(loaded, its_tokenizer).save_to_preset("preset")
    MultiHeadAttention(num_heads=8, dropout=0.1)
    version: str = keras_transformer.__version__
"""
# Lines with a mistake, and a part of what the type checker says.
MISTAKES = {
    'Tokenizer.train("train.en", vocabulary_size="500")': '"vocabulary_size" to "train" of "Tokenizer" has inc',
    'Tokenizer.load("t").encode(3)': "No overload variant",
    'word: str = Tokenizer.load("t").pieces([4])': "Incompatible types in assignment",
    "Transformer(vocabulary=500)": 'Unexpected keyword argument "vocabulary"',
    "Transformer(500)": "Too many positional arguments",
    'MultiHeadAttention("eight")': 'Argument 1 to "MultiHeadAttention" has incompatible type "str"',
    'Translator.load("run", beam=4)': 'Unexpected keyword argument "beam"',
    'Translator.load("run")("a cat")': 'incompatible type "str"; expected "ListOfTexts | Iterator[str]"',
    'Translator.load("run").translate(["a cat"])': '"Translator" has no attribute "translate"',
    'Translator.load("run").n_best(["a"])[0][0].texts': '"Hypothesis" has no attribute "texts"',
    'parallel_corpus("train.en", "train.de")': 'Missing positional argument "tokenizer"',
    'parallel_corpus("train.en", "train.de", "tokenizer.model")': 'incompatible type "str"; expected "AnyTokenizer"',
    'TokenizerPair("source.model", "target.model")': 'Argument 1 to "TokenizerPair" has incompatible type "str"',
    "keras_transformer.Tokeniser": 'Module has no attribute "Tokeniser"',
    'Checkpoint("run", Tokenizer.load("t"), every_steps="10")': '"every_steps" to "Checkpoint" has incompatible type',
}


@pytest.fixture(scope="module")
def errors(built, tmp_path_factory):
    """{line: message} of mypy for a program and its mistakes, with the wheel in an environment of its own.

    The environment has no other package: keras and tensorflow have no types, and those of numpy take mypy 15 seconds.
    """
    folder = tmp_path_factory.mktemp("typed")
    venv.create(folder / "environment", with_pip=False)
    paths = {"base": str(folder / "environment"), "platbase": str(folder / "environment")}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    with zipfile.ZipFile(built[0]) as wheel:
        wheel.extractall(packages)
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM) + "".join(f"{line}\n" for line in MISTAKES))
    options = ["--ignore-missing-imports", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    python = folder / "environment" / "bin" / "python"
    command = [sys.executable, "-m", "mypy", *options, "--python-executable", str(python), "program.py"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.stderr == ""
    found = {}
    for line in run.stdout.splitlines():
        name, number, kind, message = (part.strip() for part in line.split(":", 3))
        if kind == "error":
            assert name == "program.py", line
            found[int(number)] = f"{found.get(int(number), '')} {message}"
    lines = (folder / "program.py").read_text().splitlines()
    return {lines[number - 1]: message for number, message in found.items()}


def test_a_right_program_has_no_error(errors):
    assert {line: message for line, message in errors.items() if line not in MISTAKES} == {}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_an_error(errors, line):
    assert MISTAKES[line] in errors.get(line, "no error")


def test_the_names_that_load_late_are_those_that_the_type_checker_sees():
    source = Path(keras_transformer.__file__).read_text(encoding="utf-8")
    block = source.partition("if TYPE_CHECKING:")[2].partition("\n\n")[0]
    assert all(f" {name}" in block for name in keras_transformer._LAZY)


def test_the_options_for_type_checkers_are_those_of_the_search():
    assert set(AllOptions.__annotations__) == {field.name for field in fields(SearchOptions)}
