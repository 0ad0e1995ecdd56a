"""Writes a module as a SavedModel whose graph is small, even beside small weights."""

import itertools
import re

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer.backend.integer_constants import PRODUCT_NAME


def save(module, path):
    """Write a SavedModel.

    Two things make up half of a graph's size: the long names of the nodes in its functions, and the shapes of their
    outputs. Nothing needs either: each loader infers the shapes again. So this function numbers the nodes and removes
    the shapes. Functions, arguments, signatures and variables keep their names.

    Args:
        module: a `ServingModule`.
        path: a folder that does not exist.

    Returns:
        The `SavedModel` proto that is in the folder now, so that a caller need not parse the file again.
    """
    # A service needs no gradients, and their functions would refer to nodes by name.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=module.answers, options=options)
    file = path / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        for function in graph.graph_def.library.function:
            _shorten(function)
    file.write_bytes(model.SerializeToString(deterministic=True))
    (path / "fingerprint.pb").unlink()  # it belongs to the file before this change
    return model


def _shorten(function):
    """Number the nodes of a `FunctionDef`, and remove their shapes."""
    # A resource without a name of its own is known by the name of its node, which must not change.
    fixed = {node.name for node in function.node_def if "shared_name" in node.attr and not node.attr["shared_name"].s}
    fixed |= {node.name for node in function.node_def if node.name.startswith(PRODUCT_NAME)}  # it is an explanation
    taken = fixed | {argument.name for argument in function.signature.input_arg}
    free = (name for name in map("n{}".format, itertools.count()) if name not in taken)
    new_names = {node.name: node.name if node.name in fixed else next(free) for node in function.node_def}

    def rename(reference):
        """Rename the node in "node:output:0", or in "^node" (a control input). An argument keeps its name."""
        return re.sub(r"^(\^?)([^:]+)", lambda match: match[1] + new_names.get(match[2], match[2]), reference)

    for node in function.node_def:
        node.name = new_names[node.name]
        node.input[:] = map(rename, node.input)
        node.attr.pop("_output_shapes", None)
        if "_class" in node.attr:  # "loc:@other": this node must run on the device of the other
            places = node.attr["_class"].list.s
            places[:] = [b"loc:@" + rename(place.decode().removeprefix("loc:@")).encode() for place in places]
    for results in (function.ret, function.control_ret):
        for name, reference in list(results.items()):
            results[name] = rename(reference)
