"""Exports that multiply in 8-bit integers: the quantized model's translations, and each matrix in the graph once."""

import re
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tiny
from exported import ask_a_clean_process
from processors import needs_vnni
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer import Translator
from keras_transformer.backend.compat import all_layers
from keras_transformer.backend.int8 import integer_copy
from keras_transformer.export.checks.doctor import doctor

pytestmark = needs_vnni

PRODUCT = "QuantizedMatMulWithBiasAndDequantize"
SENTENCES = ["3 1 4", "", "1 5 9 2 6 5", "2", "7 7 7 7 7 7 7 7 7", "8 0 8"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The path of an export in integers, and a translator of the same models in integers. One of them is already."""
    folder = tmp_path_factory.mktemp("integers")
    tokenizer = tiny.make_tokenizer(folder / "corpus", "bpe")
    size = tokenizer.vocabulary_size
    first = tiny.make_opinionated(vocabulary_size=size, d_model=256, d_ff=256)
    second = tiny.make_opinionated(1, vocabulary_size=size, d_model=128, d_ff=512)  # its attention is small
    first.quantize("int8")
    translator = Translator([first, second], tokenizer, beam_size=3, max_extra_length=4)
    translator.export(folder / "export", compute="int8", check=False)
    assert first.quantized and not second.quantized
    return folder / "export", translator.with_models([first, integer_copy(second)])


def quantized_layers(model):
    """The layers whose kernels are constants of the graph."""
    return [layer for layer in all_layers(model) if hasattr(layer, "constants") and layer.constants()]


def close(values):
    return pytest.approx(values, rel=1e-4, abs=1e-4)


def test_it_gives_what_the_quantized_model_gives(made, tmp_path):
    path, translator = made
    expected = [hypothesis for [hypothesis] in translator.n_best(SENTENCES, 1, workers=1)]
    best = [hypothesis.text for hypothesis in expected]
    batch = {"sentences": SENTENCES}
    # The other two signatures call the same functions.
    requests = {"serving_default": batch, "score": {**batch, "translations": best}, "align": batch}
    asked = [("session", path, name, inputs) for name, inputs in requests.items()]
    answers = dict(zip(requests, ask_a_clean_process(asked, tmp_path), strict=True))
    assert len(set(best)) > 4
    for name in ("serving_default", "align"):
        assert answers[name]["translations"] == best
        assert answers[name]["scores"] == close([hypothesis.score for hypothesis in expected])
    assert answers["score"]["scores"] == close([score.score for score in translator.score(SENTENCES, best)])


def test_the_graph_holds_each_matrix_once(made):
    path, translator = made
    graph = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    held = Counter(
        node.attr["value"].tensor.tensor_content
        for node in nodes
        if node.op == "Const" and node.attr["value"].tensor.dtype == tf.int8.as_datatype_enum
    )
    kernels = [layer.constants()[0] for model in translator.models for layer in quantized_layers(model)]
    output_maps = [translator.model.output_map.embeddings.numpy().T]
    check = np.full((4, 4), 127, "int8")  # the sums that a machine must add up when it loads the export
    matrices = [*(kernel.numpy() for kernel in kernels), *output_maps, check]
    assert held == Counter(np.ascontiguousarray(matrix).tobytes() for matrix in matrices)
    assert sum(node.op == PRODUCT for node in nodes) == len(matrices)


def test_the_variables_are_small(made):
    path, translator = made
    stored = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    shapes = stored.get_variable_to_shape_map()
    kinds = stored.get_variable_to_dtype_map()
    found = Counter((kind.name, *shapes[name]) for name, kind in kinds.items() if len(shapes[name]) == 2)
    weights = [weight for model in translator.models for weight in model.weights if len(weight.shape) == 2]
    kernels = {id(layer.constants()[0]) for model in translator.models for layer in quantized_layers(model)}
    expected = Counter((weight.dtype, *weight.shape) for weight in weights if id(weight) not in kernels)
    assert found == expected and {kind for kind, *_ in found} == {"int8", "float32"}


def test_the_readme_and_the_doctor_say_what_it_needs(made):
    path, _ = made
    assert "products: in 8-bit integers. TensorFlow needs oneDNN, and the processor needs VNNI" in (
        (path / "README.md").read_text()
    )
    assert doctor(path).healthy
    assert re.search("8-bit integers +the server needs oneDNN and a processor with VNNI", str(doctor(path)))


BAD_MACHINES = {
    "TF_ENABLE_ONEDNN_OPTS": (
        "0",
        "IntegersNotExact: 8-bit products need TensorFlow with oneDNN",
        "Missing 0-th output from {{node integers_need_oneDNN}}",
    ),
    "ONEDNN_MAX_CPU_ISA": (
        "AVX2",
        "IntegersNotExact: 8-bit products are not exact on this processor, which lacks VNNI",
        "This export computes in 8-bit integers, and they are not exact on this processor",
    ),
}
LOAD_BOTH = """
import sys, traceback
import tensorflow as tf
from keras_transformer import Translator
for load in (Translator.load, tf.saved_model.load):
    try:
        load(sys.argv.pop(1))
    except Exception:
        traceback.print_exc()
"""


@pytest.mark.parametrize("variable", BAD_MACHINES)
def test_a_machine_that_would_be_wrong_loads_neither_the_model_nor_the_export(made, variable, tmp_path, monkeypatch):
    path, translator = made
    value, *messages = BAD_MACHINES[variable]
    translator.with_models(translator.model).save(tmp_path / "int8")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv(variable, value)
    process = tiny.python("-c", LOAD_BOTH, tmp_path / "int8", path)
    assert [message in process.stderr for message in messages] == [True, True], process.stderr


def test_what_cannot_be_meant_is_refused(made, tmp_path):
    _, translator = made
    with pytest.raises(ValueError, match=r"compute must be None or 'int8', got 'int4'. None keeps the dtype"):
        translator.export(tmp_path / "1", compute="int4")
    small = Translator(tiny.make_model(), tiny.make_tokenizer(tmp_path / "corpus"))
    with pytest.raises(ValueError, match=r"compute='int8': no matrix of this model has 65,536 weights"):
        small.export(tmp_path / "1", compute="int8")
    assert not (tmp_path / "1").exists()
