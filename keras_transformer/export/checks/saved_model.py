"""Reads what a SavedModel's folder holds: signatures, ops and files. It does not run the model."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer.backend.compat import must_compile_by_xla

MODEL_FILE = "saved_model.pb"
TAG = "serve"
DEFAULT = "serving_default"  # a server uses this signature for a request that names none
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Tensor:
    """One input or output of a signature.

    Attributes:
        dtype: str, TensorFlow's name for it, for example "string" or "float32".
        shape: a tuple. An unknown dimension is None. The whole shape is None if even the rank is unknown.
        graph_name: the tensor's name in the graph. A session needs it.
    """

    dtype: str
    shape: tuple | None
    graph_name: str

    def __str__(self):
        shape = "..." if self.shape is None else ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{shape}]"


@dataclass(frozen=True)
class Signature:
    """A signature's inputs and outputs: two dictionaries of name to `Tensor`."""

    inputs: dict
    outputs: dict


@dataclass(frozen=True)
class Contents:
    """What a SavedModel's folder holds.

    Attributes:
        path: the folder.
        tensorflow_version: str, the version of TensorFlow that wrote it.
        signatures: a dictionary of name to `Signature`. `serving_default` is first.
        ops: a `Counter` of the ops in the graph and in its functions. A call of such a function is not an op.
        num_functions: the number of the graph's functions.
        must_compile: the names of functions and nodes that XLA must compile.
        num_warmup_records: int, or None if there is no warm-up file.
        files: a dictionary of the path inside the folder to the size in bytes.
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
        """The size of all files in bytes."""
        return sum(self.files.values())


def read_saved_model(path):
    """Read a SavedModel's folder.

    Returns:
        Its `Contents`.

    Raises:
        FileNotFoundError: the folder does not exist or holds no SavedModel. If it holds versions of a model, the
            message names them.
        ValueError: the file is not a SavedModel, or has no graph with the tag "serve", or the warm-up records are
            broken.
    """
    file = _model_file(Path(path))
    try:
        proto = SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{file} is not a SavedModel, or it is broken: {error}.") from error
    return contents_of(path, proto)


def contents_of(path, proto):
    """The `Contents` of a SavedModel's folder whose `saved_model.pb` is parsed already.

    Args:
        path: the folder.
        proto: the `SavedModel` in its `saved_model.pb`.

    Raises:
        ValueError: as in `read_saved_model`.
    """
    path = Path(path)
    graph = _graph_to_serve(path / MODEL_FILE, proto)
    functions = graph.graph_def.library.function
    names = {function.signature.name for function in functions}
    nodes = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    must_compile = [function.signature.name for function in functions if must_compile_by_xla(function.attr)]
    must_compile += [node.name for node in nodes if must_compile_by_xla(node.attr)]
    return Contents(
        path=path,
        tensorflow_version=graph.meta_info_def.tensorflow_version,
        signatures=_signatures(graph),
        ops=Counter(node.op for node in nodes if node.op not in names),
        num_functions=len(functions),
        must_compile=tuple(dict.fromkeys(must_compile)),
        num_warmup_records=_count_records(path / WARMUP_FILE),
        files={str(file.relative_to(path)): file.stat().st_size for file in list_files(path)},
    )


def list_files(path):
    """All files under a folder, sorted by path."""
    return sorted(file for file in Path(path).rglob("*") if file.is_file())


def is_version(name):
    """Whether a server takes a folder of this name for a version of a model."""
    return name.isascii() and name.isdigit()


def _model_file(path):
    """The path of `saved_model.pb` in a folder, which must exist."""
    file = path / MODEL_FILE
    if file.is_file():
        return file
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is a file. Give the folder that holds {MODEL_FILE}.")
    versions = sorted(int(child.name) for child in path.iterdir() if is_version(child.name) and child.is_dir())
    if versions:
        names = ", ".join(map(str, versions))
        raise FileNotFoundError(
            f"{path} is not a SavedModel, but holds the versions {names}. Give the folder of one version, for example "
            f"{path / str(versions[-1])}."
        )
    raise FileNotFoundError(f"{path} is not a SavedModel: it holds no {MODEL_FILE}.")


def _graph_to_serve(file, proto):
    """The graph that a server loads."""
    for graph in proto.meta_graphs:
        if TAG in graph.meta_info_def.tags:
            return graph
    tags = sorted({tag for graph in proto.meta_graphs for tag in graph.meta_info_def.tags})
    raise ValueError(f"{file} has no graph with the tag {TAG!r}. A server loads only that graph. The tags are {tags}.")


def _signatures(graph):
    """The signatures, the default one first. TensorFlow's own, whose names start with two underscores, are left out."""
    names = [name for name in graph.signature_def if not name.startswith("__")]
    protos = {name: graph.signature_def[name] for name in sorted(names, key=lambda name: (name != DEFAULT, name))}
    return {name: Signature(_tensors(proto.inputs), _tensors(proto.outputs)) for name, proto in protos.items()}


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
        raise ValueError(f"{file} holds no TFRecords, or they are broken: {error.message}.") from error
