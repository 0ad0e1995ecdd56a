"""Addresses of models on hubs: their form, their download by a stand-in, and what is said when it fails."""

import re
import sys
from pathlib import Path

import huggingface_hub
import kagglehub
import pytest

from keras_transformer import Translator
from keras_transformer.inputs.addresses import read_address
from keras_transformer.interop import marian
from keras_transformer.readers.addresses import local_folder

HF = "hf://user/model, or hf://user/model@revision"
KAGGLE = "kaggle://user/model/framework/variation, or with /version behind it"
RECORDED = Path(__file__).parents[1] / "support" / "recorded_marian"


@pytest.fixture(scope="module")
def saved(digits_translator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    digits_translator.save(folder)
    return folder


@pytest.fixture
def downloads(monkeypatch):
    """The calls of the hubs' clients, which give the folder in `downloads.folder` or raise it."""

    class Downloads(list):
        folder = None

        def answer(self, *call):
            self.append(call)
            if isinstance(self.folder, Exception):
                raise self.folder
            return str(self.folder)

        def snapshot_download(self, repo_id, revision, allow_patterns):
            return self.answer("hf", repo_id, revision, *allow_patterns)

        def model_download(self, handle):
            return self.answer("kaggle", handle)

    downloads = Downloads()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloads.snapshot_download)
    monkeypatch.setattr(kagglehub, "model_download", downloads.model_download)
    return downloads


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://user/en_de-1.0", ("hf", "user/en_de-1.0", None)),
        ("hf://user/model@refs/pr/7", ("hf", "user/model", "refs/pr/7")),
        ("kaggle://user/model/keras/small", ("kaggle", "user/model/keras/small", None)),
        ("kaggle://user/model/keras/small/12", ("kaggle", "user/model/keras/small/12", None)),
        ("runs/en_de", None),
        ("hf:/user/model", None),
        (Path("hf:"), None),
        (None, None),
    ],
)
def test_an_address_has_a_hub_a_handle_and_a_revision(text, address):
    assert read_address(text) == address


WRONG = [
    *((text, HF) for text in ("hf://", "hf://user", "hf://user/model/sub", "hf://user/mo del", "hf://user/model@")),
    *((f"kaggle://{rest}", KAGGLE) for rest in ("user/model", "user/model/keras/small/0", "user/model/keras/a@b")),
]


@pytest.mark.parametrize(("text", "form"), WRONG)
def test_a_malformed_address_is_refused_before_any_download(downloads, saved, text, form):
    downloads.folder = saved
    rule = f"folder={text!r} is no address of a model. Write {form}."
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        Translator.load(text)
    with pytest.raises(ValueError, match=f"^{re.escape(rule.replace('folder', 'folder[1]', 1))}$"):
        Translator.load(["hf://user/model", text])
    assert downloads == []


def test_an_unknown_scheme_names_the_known_ones():
    rule = f"folder='https://host/model' is no address of a model. Known are {HF} and {KAGGLE}."
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        Translator.load("https://host/model")


def test_a_translator_is_loaded_from_addresses(downloads, saved, digits_translator):
    downloads.folder = saved
    names = ("model.keras", "tokenizer.model", "source_tokenizer.model", "target_tokenizer.model")
    translator = Translator.load("hf://user/digits@v1", beam_size=1)
    assert translator.tokenizer.fingerprint == digits_translator.tokenizer.fingerprint
    assert translator.folder == saved and translator.beam_size == 1
    assert len(Translator.load([str(saved), "kaggle://user/digits/keras/small"]).models) == 2
    assert downloads == [
        ("hf", "user/digits", "v1", *names, "vocab.json", "task.json"),
        ("kaggle", "user/digits/keras/small"),
    ]


def test_another_kind_of_repository_is_explained(downloads, tmp_path):
    downloads.folder = tmp_path
    for name, meaning in (
        ("task.json", "It is a preset of keras-hub. Read it with keras_transformer.interop.keras_hub.load."),
        ("vocab.json", "It is a folder of Hugging Face. Read it with keras_transformer.interop.marian.load."),
    ):
        (tmp_path / name).touch()
        rule = f"folder='hf://user/other' holds no model.keras. {meaning}"
        with pytest.raises(FileNotFoundError, match=f"^{re.escape(rule)}$"):
            Translator.load("hf://user/other")


def test_a_failed_download_is_one_line(downloads):
    downloads.folder = RuntimeError("401 Client Error.\n\nRepository Not Found for url.")
    rule = (
        "folder='hf://user/digits' could not be downloaded: 401 Client Error. Repository Not Found for url. Check the "
        "address, the network and, for a private model, the login."
    )
    with pytest.raises(OSError, match=f"^{re.escape(rule)}$"):
        Translator.load("hf://user/digits")


@pytest.mark.parametrize(
    ("address", "package"), [("hf://user/digits", "huggingface_hub"), ("kaggle://a/b/c/d", "kagglehub")]
)
def test_a_missing_client_is_named_with_its_installation(monkeypatch, address, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"^folder='{address}' needs {package}: pip install {package}$"):
        Translator.load(address)


def test_a_path_is_left_alone(tmp_path, downloads):
    assert local_folder(tmp_path, ["model.keras"]) is tmp_path and downloads == []


def test_marian_folders_have_addresses_too(downloads):
    downloads.folder = RECORDED
    _, tokenizer = marian.load("hf://Helsinki-NLP/opus-mt-en-de")
    assert tokenizer.model == "marian"
    files = ("config.json", "vocab.json", "source.spm", "target.spm", "model.safetensors", "pytorch_model.bin")
    assert downloads == [("hf", "Helsinki-NLP/opus-mt-en-de", None, *files)]
