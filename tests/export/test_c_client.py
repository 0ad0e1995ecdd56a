"""A C program runs an export without Python. It links the library that is in TensorFlow's wheel."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import session_client
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tiny_exports import SENTENCES, tiny_export

SOURCE = Path(__file__).parents[1] / "support" / "c_client" / "translate.c"
OP_LIBRARIES = {"bpe": "_sentencepiece_tokenizer.so", "wordpiece": "_fast_wordpiece_tokenizer.so"}
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # neither PATH nor PYTHONPATH


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler; install gcc for this test")
    binary = tmp_path_factory.mktemp("c_client") / "translate"
    folder = Path(tf.sysconfig.get_lib())
    libraries = [folder / "libtensorflow_cc.so.2", folder / "libtensorflow_framework.so.2"]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-isystem", tf.sysconfig.get_include()]
    command = [compiler, *flags, SOURCE, "-o", binary, *libraries, f"-Wl,-rpath,{folder}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return binary


def op_library(kind):
    """The path of the op library that a tokenizer of this kind needs."""
    [path] = [path for path in session_client.text_op_libraries() if path.name == OP_LIBRARIES[kind]]
    return path


def tensor_names(path):
    """The tensors of the signature's input and of its translations, read from the export's file."""
    [meta] = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs
    signature = meta.signature_def["serving_default"]
    return signature.inputs["sentences"].name, signature.outputs["translations"].name


def run(program, *arguments):
    return subprocess.run([program, *arguments], env=ENVIRONMENT, cwd=program.parent, capture_output=True)


@pytest.mark.parametrize("kind", OP_LIBRARIES)
def test_a_c_program_gives_the_strings_of_the_translator(program, kind):
    path, translator = tiny_export(kind)
    result = run(program, "-l", op_library(kind), path, *tensor_names(path), *SENTENCES)
    assert result.returncode == 0, result.stderr
    expected = translator(SENTENCES)
    assert len(set(expected)) > 3
    assert result.stdout.decode() == "".join(f"{text}\n" for text in expected)


@pytest.mark.parametrize(
    ("code", "message", "change"),
    [
        (2, "usage: translate", lambda call: call[:5]),
        (3, "none.so: cannot open", lambda call: ["-l", "none.so", *call[2:]]),
        (4, "SentencepieceOp", lambda call: call[2:]),
        (4, "Could not find SavedModel", lambda call: [*call[:2], "nowhere", *call[3:]]),
        (5, "name of a tensor is operation:index", lambda call: [*call[:3], "serving_default_sentences", *call[4:]]),
        (5, "no such tensor", lambda call: [*call[:3], "serving_default_sentences:1", *call[4:]]),
        (5, "is not a tensor of strings", lambda call: [*call[:4], scores_name(), *call[5:]]),
    ],
)
def test_the_c_program_says_what_is_wrong(program, code, message, change):
    path, _ = tiny_export("bpe")
    call = ["-l", op_library("bpe"), path, *tensor_names(path), "1 2"]
    result = run(program, *change(call))
    assert (result.returncode, result.stdout) == (code, b"")
    assert message in result.stderr.decode()


def scores_name():
    path, _ = tiny_export("bpe")
    [meta] = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs
    return meta.signature_def["serving_default"].outputs["scores"].name
