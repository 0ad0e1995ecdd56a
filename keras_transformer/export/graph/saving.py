"""A module as a SavedModel folder, with a graph that takes little room beside small weights."""

import itertools
import re

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel


def save(module, path):
    """Write a SavedModel.

    Half of a graph's size is the names of its functions' nodes, each as long as the way to a layer, and the
    shapes that every loader infers anew: 1 MB of a model that has 5 MB in 8-bit integers. Here the nodes
    are numbered and the shapes left out. Functions, arguments, signatures and variables keep their names.

    Args:
        module: a `ServingModule`.
        path: a folder that does not exist.
    """
    # Without gradients, which nobody takes of a service and which would name nodes.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=module.answers, options=options)
    file = path / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        for function in graph.graph_def.library.function:
            _shorten(function)
    file.write_bytes(model.SerializeToString(deterministic=True))
    (path / "fingerprint.pb").unlink()  # of the file as it was


def _shorten(function):
    """Number the nodes of a `FunctionDef`, and leave out their shapes."""
    # A resource without a name goes by its node's.
    kept = {node.name for node in function.node_def if "shared_name" in node.attr and not node.attr["shared_name"].s}
    taken = kept | {argument.name for argument in function.signature.input_arg}
    numbered = (name for name in map("n{}".format, itertools.count()) if name not in taken)
    short = {node.name: node.name if node.name in kept else next(numbered) for node in function.node_def}

    def renamed(reference):
        """Of "node:output:0", "^node" for control, or an argument."""
        return re.sub(r"^(\^?)([^:]+)", lambda found: found[1] + short.get(found[2], found[2]), reference)

    for node in function.node_def:
        node.name = short[node.name]
        node.input[:] = map(renamed, node.input)
        node.attr.pop("_output_shapes", None)
        if "_class" in node.attr:  # what it must stand beside: "loc:@node"
            places = node.attr["_class"].list.s
            places[:] = [b"loc:@" + renamed(place.decode().removeprefix("loc:@")).encode() for place in places]
    for results in (function.ret, function.control_ret):
        for name, reference in list(results.items()):
            results[name] = renamed(reference)
