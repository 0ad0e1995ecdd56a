"""Exports are written once, moved away from their training folder, and loaded without this package."""

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import hand_made
import keras
import pytest
import tensorflow as tf
import tiny
from exported import ask_a_clean_process
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer import Translator
from keras_transformer.export import write
from keras_transformer.export.checks.doctor import doctor
from keras_transformer.export.checks.saved_model import read_saved_model
from keras_transformer.export.server.serving_files import Batching, ServingFiles, name_and_version

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


class Exported(NamedTuple):
    """An export that was moved away, the translator that wrote it, and how often which files were read meanwhile."""

    path: Path
    translator: Translator
    counts: dict


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The `Exported` of a translator whose files were removed. Another version of its model is there already."""
    folder = tmp_path_factory.mktemp("exported")
    tokenizer = tiny.make_tokenizer(folder / "training", "wordpiece")
    model = tiny.make_opinionated(use_bias=True, output_bias=True)
    Translator(model, tokenizer).save(folder / "training" / "run")
    loaded = Translator.load(folder / "training" / "run", beam_size=2, max_extra_length=4)
    shutil.rmtree(folder / "training")
    existing = hand_made.save(folder / "here" / "1", ids=hand_made.ids)
    ServingFiles(existing, Batching()).write(read_saved_model(existing).signatures)
    with pytest.MonkeyPatch.context() as patch:
        paths = count_calls(patch, name_and_version)
        parsed, checked = count_reads(patch, "read_bytes"), count_reads(patch, "read_text")
        loaded.export(folder / "here" / "2", serving=True)
    counts = {"path": len(paths)} | {name: (parsed + checked).count(name) for name in READ_ONCE}
    (folder / "there").mkdir()
    moved = shutil.move(folder / "here" / "2", folder / "there" / "7")
    shutil.rmtree(folder / "here")
    return Exported(moved, loaded, counts)


def graph_nodes(path):
    """All nodes of a SavedModel, including those of its functions, and the functions."""
    [meta] = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs
    functions = meta.graph_def.library.function
    return [*meta.graph_def.node, *(node for function in functions for node in function.node_def)], functions


def test_an_export_gives_the_same_without_this_package(exported, tmp_path):
    moved, translator, _ = exported
    expected = [[best.text, pytest.approx(best.score, rel=1e-5)] for [best] in translator.n_best(SENTENCES, 1)]
    assert len({text for text, _ in expected}) > 3
    batches = [SENTENCES, *([sentence] for sentence in SENTENCES)]
    requests = [("session", moved, "serving_default", {"sentences": batch}) for batch in batches]
    together, *single = (
        [list(pair) for pair in zip(outputs["translations"], outputs["scores"], strict=True)]
        for outputs in ask_a_clean_process(requests, tmp_path)
    )
    assert together == expected
    assert single == [[pair] for pair in expected]

    nodes, functions = graph_nodes(moved)
    assert len(nodes) > 100 and len(functions) > 3
    ops = {node.op for node in nodes}
    assert {op for op in ops if op.startswith("Xla") or "PyFunc" in op} == set()
    assert [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b] == []
    assert [node.name for node in nodes if node.attr["_XlaMustCompile"].b] == []
    assert not any("_output_shapes" in node.attr for function in functions for node in function.node_def)

    assert doctor(moved).healthy  # no file has changed, too

    # The export stores one set of weights: the model's variables, and nothing that was computed from them.
    stored = [
        (shape, name)
        for name, shape in tf.train.list_variables(str(moved / "variables" / "variables"))
        if name != GRAPH
    ]
    assert sorted(shape for shape, _ in stored) == sorted(list(weight.shape) for weight in translator.model.weights)
    [data] = (moved / "variables").glob("*.data*")
    assert 0 <= data.stat().st_size - 4 * translator.model.count_params() < 40_000  # the rest is names in GRAPH


def count_calls(monkeypatch, function):
    """Record the calls of a function of the room `export`. Return the list of their arguments."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    name = function.__name__
    for module in [module for path, module in sys.modules.items() if path.startswith("keras_transformer.export")]:
        if getattr(module, name, None) is function:
            monkeypatch.setattr(module, name, counted)
    return calls


def count_reads(monkeypatch, method):
    """Record the files that a method of `Path` reads. Return the list of their names."""
    names, read = [], getattr(Path, method)

    def counted(path, *arguments, **options):
        names.append(path.name)
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, method, counted)
    return names


READ_ONCE = ("saved_model.pb", "models.config", "batching.config")


def test_an_export_parses_its_graph_once_and_checks_path_and_files_once(exported):
    assert exported.counts == {"path": 1, **dict.fromkeys(READ_ONCE, 1)}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A translator whose exports are neither checked nor finished, for tests of the files."""
    monkeypatch.setattr(write, "facts_of", lambda *arguments: None)
    monkeypatch.setattr(write, "contents_of", lambda *arguments: None)
    monkeypatch.setattr(write, "finish", lambda *arguments: ([], []))
    return Translator(tiny.make_model(), tiny.make_tokenizer(tmp_path / "corpus"), beam_size=1)


def write_marker(module, path):
    """Stands for the slow `save`."""
    os.mkdir(path)
    with open(os.path.join(path, "saved_model.pb"), "w") as stream:
        stream.write("new")


def test_an_existing_folder_is_replaced_only_with_overwrite(small, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "save", write_marker)
    path = tmp_path / "en_de" / "1"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text("old")
    with pytest.raises(FileExistsError, match="1 exists already"):
        small.export(path)
    assert (path / "saved_model.pb").read_text() == "old"
    small.export(path, overwrite=True)
    assert (path / "saved_model.pb").read_text() == "new"
    assert os.listdir(tmp_path / "en_de") == ["1"]


@pytest.mark.parametrize("name", ["model.keras", "1"])
def test_a_training_folder_and_the_versions_of_a_model_are_not_replaced(small, tmp_path, name):
    (tmp_path / "en_de").mkdir()
    (tmp_path / "en_de" / name).write_text("precious")
    with pytest.raises(FileExistsError, match=f"en_de also holds {name}, which would be lost"):
        small.export(tmp_path / "en_de", overwrite=True)
    assert (tmp_path / "en_de" / name).read_text() == "precious"


@pytest.mark.parametrize("serving", ["yes", 1, None, {"max_size": 8}])
def test_a_serving_of_another_type_is_refused_before_the_work(small, tmp_path, monkeypatch, serving):
    monkeypatch.setattr(write, "save", None)
    with pytest.raises(TypeError, match="serving must be True, False or a Batching, got "):
        small.export(tmp_path / "en_de" / "1", serving=serving)
    assert not (tmp_path / "en_de").exists()


def test_a_failing_export_loses_nothing(small, tmp_path, monkeypatch):
    def fail(module, path):
        write_marker(module, path)
        raise OSError("no space left on device")

    monkeypatch.setattr(write, "save", fail)
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
    translator.export(tmp_path / "1", check=False)
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"](sentences=tf.constant(SENTENCES))
    expected = [best.score for [best] in translator.n_best(SENTENCES)]
    assert keras.ops.convert_to_numpy(served["scores"]).tolist() == pytest.approx(expected, rel=1e-2)
