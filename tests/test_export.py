"""An export in exile: moved away from its training folder, and loaded without this package."""

import json
import os
import shutil
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
import tiny
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer import Translator

SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]

CLIENT = """
import json, sys
import tensorflow as tf
import tensorflow_text

assert not any(name.partition(".")[0] in ("keras_transformer", "keras_hub", "keras_nlp") for name in sys.modules)
path, sentences = sys.argv[1], json.loads(sys.argv[2])
serve = tf.saved_model.load(path).signatures["serving_default"]

def ask(batch):
    found = serve(sentences=tf.constant(batch, tf.string, shape=[len(batch)]))
    assert sorted(found) == ["scores", "translations"]
    texts, scores = found["translations"].numpy(), found["scores"].numpy()
    return [[text.decode(), float(score)] for text, score in zip(texts, scores)]

one_by_one = [ask([sentence])[0] for sentence in sentences]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    signature = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def["serving_default"]
    names = [signature.outputs[name].name for name in ("translations", "scores")]
    texts, scores = session.run(names, {signature.inputs["sentences"].name: sentences})
    session_run = [[text.decode(), float(score)] for text, score in zip(texts, scores)]
print(json.dumps({"batch": ask(sentences), "one_by_one": one_by_one, "empty": ask([]), "session": session_run}))
"""


def ask_a_clean_process(path, folder):
    """What the export at `path` answers in a process that can see TensorFlow, and this package nowhere."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-P", "-c", CLIENT, str(path), json.dumps(SENTENCES)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["bpe", "wordpiece"])
def translator(request, tmp_path_factory):
    """A translator whose own files are gone."""
    folder = tmp_path_factory.mktemp("training")
    tokenizer = tiny.make_tokenizer(folder, request.param)
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    Translator(model, tokenizer).save(folder / "run")
    loaded = Translator.load(folder / "run", beam_size=2, max_extra_length=4)
    shutil.rmtree(folder)
    return loaded


def graph_nodes(path):
    """The nodes of a SavedModel, and its functions."""
    [meta] = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs
    functions = meta.graph_def.library.function
    return [*meta.graph_def.node, *(node for function in functions for node in function.node_def)], functions


def test_an_export_gives_the_same_without_this_package(translator, tmp_path):
    translator.export(tmp_path / "here" / "1")
    (tmp_path / "there").mkdir()
    moved = shutil.move(tmp_path / "here" / "1", tmp_path / "there" / "7")
    shutil.rmtree(tmp_path / "here")
    expected = [[best.text, pytest.approx(best.score, rel=1e-5)] for [best] in translator.n_best(SENTENCES, 1)]
    assert len({text for text, _ in expected}) > 3
    answers = ask_a_clean_process(moved, tmp_path)
    assert answers == {"batch": expected, "one_by_one": expected, "empty": [], "session": expected}

    nodes, functions = graph_nodes(moved)
    assert len(nodes) > 100 and len(functions) > 3
    ops = {node.op for node in nodes}
    assert {op for op in ops if op.startswith("Xla") or "PyFunc" in op} == set()
    assert [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b] == []
    assert [node.name for node in nodes if node.attr["_XlaMustCompile"].b] == []


@pytest.fixture
def small(tmp_path):
    """A translator with a stand-in for its graph, for tests of files alone."""
    return Translator(tiny.make_model(), tiny.make_tokenizer(tmp_path / "corpus"), beam_size=1)


def write_marker(module, path, signatures):
    """In place of the slow `tf.saved_model.save`."""
    os.mkdir(path)
    with open(os.path.join(path, "saved_model.pb"), "w") as stream:
        stream.write("new")


def test_a_folder_that_exists_is_replaced_only_when_asked(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "save", write_marker)
    path = tmp_path / "en_de" / "1"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text("old")
    with pytest.raises(FileExistsError, match="1 exists already"):
        small.export(path)
    assert (path / "saved_model.pb").read_text() == "old"
    small.export(path, overwrite=True)
    assert (path / "saved_model.pb").read_text() == "new"
    assert os.listdir(tmp_path / "en_de") == ["1"]


def test_a_failing_export_loses_nothing(small, tmp_path, monkeypatch):
    def fail(module, path, signatures):
        write_marker(module, path, signatures)
        raise OSError("no space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    path = tmp_path / "en_de" / "1"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text("old")
    with pytest.raises(OSError, match="no space left"):
        small.export(path, overwrite=True)
    assert (path / "saved_model.pb").read_text() == "old"
    with pytest.raises(OSError, match="no space left"):
        small.export(tmp_path / "en_de" / "2")
    assert os.listdir(tmp_path / "en_de") == ["1"]


def test_a_model_trained_under_a_strategy_in_bfloat16_can_be_exported(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus")
    with tiny.two_replicas().scope():
        model = tiny.make_opinionated(dtype="mixed_bfloat16")
    translator = Translator(model, tokenizer, beam_size=1, max_extra_length=4)
    translator.export(tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"](sentences=tf.constant(SENTENCES))
    expected = [best.score for [best] in translator.n_best(SENTENCES)]
    assert keras.ops.convert_to_numpy(served["scores"]).tolist() == pytest.approx(expected, rel=1e-2)
