"""What a SavedModel's folder says about itself, read from its files without running it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer.backend.compat import must_compile_by_xla

MODEL_FILE = "saved_model.pb"
TAG = "serve"
DEFAULT = "serving_default"  # the signature that a request gets which names none
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Tensor:
    """One input or output of a signature.

    Attributes:
        dtype: str, TensorFlow's name, such as "string" or "float32".
        shape: a tuple, None for an open dimension; None for an open rank.
        graph_name: its name in the graph, for a session.
    """

    dtype: str
    shape: tuple | None
    graph_name: str

    def __str__(self):
        shape = "..." if self.shape is None else ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{shape}]"


@dataclass(frozen=True)
class Signature:
    """A signature's inputs and outputs: dictionaries of names to `Tensor`s."""

    inputs: dict
    outputs: dict


@dataclass(frozen=True)
class Contents:
    """A SavedModel.

    Attributes:
        path: its folder.
        tensorflow_version: str, of the TensorFlow that wrote it.
        signatures: a dictionary of names to `Signature`s, `serving_default` first.
        ops: a `Counter` of the ops of its graph and of its functions; calls of those functions are no ops.
        num_functions: how many functions the graph has.
        must_compile: names of the functions and nodes that XLA must compile.
        num_warmup_records: how many; None without such a file.
        files: a dictionary of path inside the folder to size in bytes.
    """

    path: Path
    tensorflow_version: str
    signatures: dict
    ops: Counter
    num_functions: int
    must_compile: tuple
    num_warmup_records: int | None
    files: dict

    @property
    def size(self):
        """Bytes of all files."""
        return sum(self.files.values())


def read_saved_model(path):
    """The `Contents` of a SavedModel's folder.

    Raises:
        FileNotFoundError: no such folder, or none that holds a SavedModel; where it holds versions, they are named.
        ValueError: a file that is no SavedModel, or one without the tag "serve"; broken warm-up records.
    """
    path = Path(path)
    meta = _meta_graph(_find(path))
    functions = meta.graph_def.library.function
    names = {function.signature.name for function in functions}
    nodes = [*meta.graph_def.node, *(node for function in functions for node in function.node_def)]
    must_compile = [function.signature.name for function in functions if must_compile_by_xla(function.attr)]
    must_compile += [node.name for node in nodes if must_compile_by_xla(node.attr)]
    return Contents(
        path=path,
        tensorflow_version=meta.meta_info_def.tensorflow_version,
        signatures=_signatures(meta),
        ops=Counter(node.op for node in nodes if node.op not in names),
        num_functions=len(functions),
        must_compile=tuple(dict.fromkeys(must_compile)),
        num_warmup_records=_count_records(path / WARMUP_FILE),
        files={str(file.relative_to(path)): file.stat().st_size for file in files_of(path)},
    )


def files_of(path):
    """The files under a folder, sorted by name."""
    return sorted(file for file in Path(path).rglob("*") if file.is_file())


def versions_of(path):
    """The versions in the folder of a name, as a server sees them: the sorted numbers among its folders."""
    return sorted(int(child.name) for child in Path(path).iterdir() if is_version(child.name) and child.is_dir())


def is_version(name):
    """Whether a server would take a folder of this name for a version."""
    return name.isascii() and name.isdigit()


def _find(path):
    """The path of the proto."""
    file = path / MODEL_FILE
    if file.is_file():
        return file
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is a file. Give the folder that holds {MODEL_FILE}.")
    versions = versions_of(path)
    if versions:
        names = ", ".join(map(str, versions))
        raise FileNotFoundError(
            f"{path} holds versions, {names}, and is none itself. Give one of them, such as {path / str(versions[-1])}."
        )
    raise FileNotFoundError(f"{path} holds no {MODEL_FILE}: it is no SavedModel.")


def _meta_graph(file):
    """The graph that a server loads."""
    try:
        graphs = SavedModel.FromString(file.read_bytes()).meta_graphs
    except DecodeError as error:
        raise ValueError(f"{file} is no SavedModel, or a broken one: {error}.") from error
    for meta in graphs:
        if TAG in meta.meta_info_def.tags:
            return meta
    tags = sorted({tag for meta in graphs for tag in meta.meta_info_def.tags})
    raise ValueError(f"{file} has no graph with the tag {TAG!r}, which servers load; its tags are {tags}.")


def _signatures(meta):
    """The signatures, the default one first; without TensorFlow's own, whose names begin with two underscores."""
    names = sorted((name for name in meta.signature_def if not name.startswith("__")), key=lambda x: (x != DEFAULT, x))
    found = {name: meta.signature_def[name] for name in names}
    return {name: Signature(_tensors(one.inputs), _tensors(one.outputs)) for name, one in found.items()}


def _tensors(infos):
    return {name: Tensor(tf.as_dtype(info.dtype).name, _shape(info), info.name) for name, info in sorted(infos.items())}


def _shape(info):
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _count_records(file):
    if not file.is_file():
        return None
    try:
        return sum(1 for _ in tf.data.TFRecordDataset(str(file)))
    except tf.errors.DataLossError as error:
        raise ValueError(f"{file} holds no TFRecords, or broken ones: {error.message}.") from error
