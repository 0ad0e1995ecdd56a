"""The weights of an export: stored once in its folder, and ready for use as soon as it is loaded."""

import contextlib
import hashlib
import json

import numpy as np
import tensorflow as tf

from keras_transformer.backend.compat import all_layers, weights_as
from keras_transformer.backend.int8 import EXPECTED_SUM, sums_of_ones
from keras_transformer.backend.integer_constants import one_function_each
from keras_transformer.export.graph.precision import INTEGERS, Stored
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.incremental.state import StepWeights

# Why a machine does not load an export that computes in integers.
RULE = (
    "This export computes in 8-bit integers, and they are not exact on this processor, which lacks VNNI. Use another "
    "machine, or make the export again without compute='int8'."
)


class Computed(tf.saved_model.experimental.TrackableResource):
    """A tensor that is computed from variables when a SavedModel is loaded.

    A loader first restores the variables. Then it runs the initializer of each resource, for example of a lookup
    table, and of this one. Then the model can be called. The folder holds the computation, but not the value. The
    tensor lives as long as the session, or in an eager process until the process ends.

    Args:
        compute: a function without arguments that returns a float tensor, in TensorFlow ops.
        name: a name that no other resource of the process has. Resources of one name are one resource.
    """

    def __init__(self, compute, name):
        super().__init__()
        self._compute, self._name = compute, name
        [result] = tf.function(compute, autograph=False).get_concrete_function().outputs
        self._shape, self._dtype = result.shape, result.dtype
        _ = self.resource_handle  # this creates the resource now, outside any graph

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=self._dtype, shape=self._shape, shared_name=self._name)

    def _initialize(self):
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=self._compute())

    def read(self):
        """Read the tensor in the graph that calls this."""
        value = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=self._dtype)
        return tf.ensure_shape(value, self._shape)  # the graph optimizer does not know it


class Weights:
    """All weights of the models of an export.

    Args:
        models: `Transformer`s.
        precision: one of `precision.PRECISIONS`, in which the folder stores the weights.

    Raises:
        ValueError: the precision is unknown, or a weight is not finite, or it is too large for float16.

    Attributes:
        tracked: the objects that a `tf.Module` must hold, so that its SavedModel has the weights.
    """

    def __init__(self, models, precision):
        layers = [layer for model in models for layer in all_layers(model) if hasattr(layer, "constants")]
        constants = {id(variable): variable for layer in layers for variable in layer.constants()}
        owners = {id(v): (v, model) for model in models for v in model.weights if id(v) not in constants}
        self._keys = list(owners)
        self._stored = Stored({key: variable for key, (variable, _) in owners.items()}, precision)
        self._name = _digest(models, [*self._stored.variables, *constants.values()])
        self._products, self._ready = {}, {}
        for number, (key, (variable, model)) in enumerate(owners.items()):
            is_cast = len(variable.shape) > 1 and model.compute_dtype != "float32"
            if (is_cast and variable.dtype != INTEGERS) or self._stored.is_packed(key):
                self._ready[key] = self._in_compute_dtype(key, model.compute_dtype, number)
        self._steps = [self._prepared(model, number) for number, model in enumerate(models)]
        checks = [Computed(_checked_integers, f"{self._name}_check")] if any(m.quantized for m in models) else []
        self.tracked = [*self._stored.variables, *self._ready.values(), *tf.nest.flatten(self._steps), *checks]

    def _in_compute_dtype(self, key, dtype, number):
        """A matrix in the dtype that the models compute with, ready before the first call."""
        return Computed(lambda: tf.cast(self._stored.value(key), dtype), f"{self._name}_matrix_{number}")

    def _prepared(self, model, number):
        """`IncrementalDecoder.step_weights()`, with a `Computed` in place of each tensor."""

        def computed(name, owner, compute):
            def from_stored():  # another `Computed` may not be initialized yet
                keys = [key for key in map(id, owner.weights) if key in self._keys]  # the others are constants
                with weights_as({key: self._stored.value(key) for key in keys}):
                    return compute()

            return Computed(from_stored, f"{self._name}_{number}_{name}")

        decoder = IncrementalDecoder(model)
        layers = [
            [
                computed(
                    f"layer_{depth}_{part}", layer, lambda depth=depth, part=part: decoder.layer_weights(depth)[part]
                )
                for part in range(len(decoder.layer_weights(depth)))
            ]
            for depth, layer in enumerate(model.decoder.layers)
        ]
        output = computed("output", model.output_map, decoder.output_weights) if model.output_map.matrices() else ()
        return StepWeights(layers, output, cast=[])  # `scope` gives the variables their cast values

    @contextlib.contextmanager
    def scope(self):
        """A block in which the models' variables have the export's values. The graph that calls this reads them."""
        values = {key: self._ready[key].read() if key in self._ready else self._stored.value(key) for key in self._keys}
        with weights_as(values), one_function_each(self._products):
            yield

    def step_weights(self):
        """`IncrementalDecoder.step_weights()` of each model. The graph that calls this reads them."""
        return tf.nest.map_structure(lambda computed: computed.read(), self._steps)


def _checked_integers():
    """1.0, on a machine that adds up products of 8-bit integers exactly. Elsewhere the export cannot be loaded."""
    sums = sums_of_ones()
    with tf.control_dependencies([tf.debugging.assert_near(sums, float(EXPECTED_SUM), rtol=1e-5, message=RULE)]):
        return tf.ones([])


def _digest(models, variables):
    """Hexadecimal digits that name these models with these weights."""
    digest = hashlib.sha256(json.dumps([model.get_config() for model in models], sort_keys=True).encode())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:32]
