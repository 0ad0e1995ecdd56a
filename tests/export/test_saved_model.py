"""Reads SavedModels, and finds the ops that a stock server would not run."""

import hand_made
import keras
import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer.export.checks.saved_model import Tensor, read_saved_model
from keras_transformer.export.checks.served_ops import core_ops, require_supported_ops, text_ops, unsupported_ops


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return hand_made.save_all(tmp_path_factory.mktemp("en_de") / "7")


def test_the_signatures_the_ops_and_the_files_are_read(path):
    contents = read_saved_model(path)
    assert list(contents.signatures) == ["serving_default", "ids", "score"]
    inputs = {name: list(signature.inputs.values()) for name, signature in contents.signatures.items()}
    strings = ("string", (None,))
    assert {name: [(tensor.dtype, tensor.shape) for tensor in tensors] for name, tensors in inputs.items()} == {
        "ids": [("int32", (None, None))],
        "score": [strings, strings],
        "serving_default": [strings],
    }
    assert {name: str(tensor) for name, tensor in contents.signatures["serving_default"].outputs.items()} == {
        "scores": "float32 [?]",
        "translations": "string [?]",
        "truncated": "bool [?]",
    }
    assert inputs["serving_default"] == [Tensor("string", (None,), "serving_default_sentences:0")]
    assert contents.tensorflow_version == tf.__version__
    assert contents.ops["StringUpper"] == 1
    assert contents.ops["StringLength"] == 3  # one in `echo`, two in `score`
    assert not any(op.startswith("__inference") for op in contents.ops)
    assert contents.num_functions >= 3
    assert contents.must_compile == ()
    assert contents.num_warmup_records is None
    assert contents.files["saved_model.pb"] == (path / "saved_model.pb").stat().st_size
    assert contents.size == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert unsupported_ops(contents) == {}


def test_the_error_names_a_wrong_folder_and_the_versions_in_it(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent does not exist"):
        read_saved_model(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"file is a file\. Give the folder that holds saved_model\.pb"):
        read_saved_model(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"is not a SavedModel: it holds no saved_model\.pb"):
        read_saved_model(tmp_path)
    for name in ("2", "10", ".11.part", "old", "3"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"is not a SavedModel, but holds the versions 2, 3, 10\. .*/10\."):
        read_saved_model(tmp_path)


def test_a_broken_file_another_tag_and_broken_warm_up_are_errors(path, tmp_path):
    data = (path / "saved_model.pb").read_bytes()
    broken = tmp_path / "saved_model.pb"
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"saved_model\.pb is not a SavedModel, or it is broken"):
        read_saved_model(tmp_path)

    proto = SavedModel.FromString(data)
    proto.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    broken.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"no graph with the tag 'serve'.*The tags are \['train'\]"):
        read_saved_model(tmp_path)

    broken.write_bytes(data)
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records at all")
    with pytest.raises(ValueError, match="tf_serving_warmup_requests holds no TFRecords"):
        read_saved_model(tmp_path)


def test_the_lists_of_ops_hold_known_ops_and_no_newer_ones():
    assert len(text_ops()) == 35
    assert {"SentencepieceTokenizeOp", "TFText>FastSentencepieceTokenize", "WordpieceTokenizeWithOffsets"} < text_ops()
    assert "TFText>RoundRobinTrim" not in text_ops()  # newer
    assert not text_ops() & core_ops()
    assert {"MatMul", "StringLower", "ReadVariableOp", "StatelessWhile", "HashTableV2"} < core_ops()
    assert "SegmentMaxV2" not in core_ops()  # newer
    assert {op for op in core_ops() if not hasattr(tf.raw_ops, op)} == set()  # none is for the wheel's own tests


def with_a_newer_text_op(sentences):
    trimmer = tf_text.RoundRobinTrimmer(max_seq_length=5)
    [trimmed] = trimmer.trim([tf_text.WhitespaceTokenizer().tokenize(sentences)])
    return {"translations": tf.strings.reduce_join(trimmed, axis=1, separator=" ")}


def with_python(sentences):
    return {"translations": tf.py_function(lambda strings: strings, [sentences], tf.string)}


def with_a_newer_core_op(sentences):
    lengths = tf.strings.length(sentences)
    longest = tf.raw_ops.SegmentMaxV2(data=lengths, segment_ids=tf.zeros_like(lengths), num_segments=1)
    return {"longest": longest + tf.zeros_like(lengths)}


def with_xla(source_ids):
    return {"ids": keras.ops.slice_update(source_ids, [0, 0], tf.zeros([1, 1], tf.int32))}


@pytest.mark.parametrize(
    ("function", "op", "reason"),
    [
        (with_a_newer_text_op, "TFText>RoundRobinTrim", "nor of tensorflow-text 2.12.1"),
        (with_a_newer_core_op, "SegmentMaxV2", "neither an op of TensorFlow since 2.12"),
        (with_python, "EagerPyFunc", "calls Python"),
        (with_xla, "XlaDynamicUpdateSlice", "an op of XLA"),
    ],
)
def test_the_error_names_an_op_that_a_server_lacks(tmp_path, function, op, reason):
    contents = read_saved_model(hand_made.save(tmp_path / "1", function))
    assert list(unsupported_ops(contents)) == [op]
    assert reason in unsupported_ops(contents)[op]
    with pytest.raises(ValueError, match=rf"(?s)would not run .*/1:\n  {op}: .*{reason}"):
        require_supported_ops(contents)


def test_the_error_names_functions_that_xla_must_compile(tmp_path):
    contents = read_saved_model(hand_made.save(tmp_path / "1", hand_made.ids, jit_compile=True))
    assert contents.must_compile
    assert set(unsupported_ops(contents)) == set(contents.must_compile)
    with pytest.raises(ValueError, match="must be compiled by XLA"):
        require_supported_ops(contents)


@pytest.mark.parametrize("kind", ["function", "node in a function", "node of the graph"])
def test_the_attribute_for_xla_is_read_in_every_place(path, tmp_path, kind):
    proto = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    function = next(function for function in graph.library.function if function.node_def)
    places = {"function": function, "node in a function": function.node_def[0], "node of the graph": graph.node[-1]}
    marked = places[kind]
    marked.attr["_XlaMustCompile"].b = True
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    name = function.signature.name if kind == "function" else marked.name
    assert read_saved_model(tmp_path).must_compile == (name,)
