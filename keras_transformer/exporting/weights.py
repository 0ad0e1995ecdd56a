"""The models' weights as an export keeps them: once in its folder, and ready for use from when it is loaded."""

import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from keras_transformer.decoder_state import StepWeights
from keras_transformer.exporting.precision import Stored


class Computed(tf.saved_model.experimental.TrackableResource):
    """A tensor that is computed when a SavedModel is loaded, from variables of its folder.

    Every loader restores the variables, then runs the initialisation of each resource, as that of a
    lookup table; then it answers. The folder holds how to compute it, and no value. The tensor lives as
    long as the session, or in an eager process as long as that.

    Args:
        compute: a function without arguments that gives a float tensor, in TensorFlow ops.
        name: unlike that of every other value, as resources of one name in a process are one.
    """

    def __init__(self, compute, name):
        super().__init__()
        self._compute, self._name = compute, name
        [result] = tf.function(compute, autograph=False).get_concrete_function().outputs
        self._shape, self._dtype = result.shape, result.dtype
        _ = self.resource_handle  # creates it now, outside any graph

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=self._dtype, shape=self._shape, shared_name=self._name)

    def _initialize(self):
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=self._compute())

    def read(self):
        """The tensor, in the graph under construction."""
        value = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=self._dtype)
        return tf.ensure_shape(value, self._shape)  # which the optimiser cannot know otherwise


class Weights:
    """All weights of some models.

    Args:
        models: `Transformer`s.
        precision: of `precision.PRECISIONS`, how the folder holds them.

    Raises:
        ValueError: an unknown precision, or a weight that is not finite, or not in float16.

    Attributes:
        tracked: what a `tf.Module` must hold for its SavedModel to have the weights.
    """

    def __init__(self, models, precision):
        owners = {id(variable): (variable, model) for model in models for variable in model.weights}
        self._stored = {key: Stored(variable, precision) for key, (variable, _) in owners.items()}
        self._name = _digest(models, tf.nest.flatten([one.variables for one in self._stored.values()]))
        self._restored = {}
        for number, (key, (_, model)) in enumerate(owners.items()):
            if self._stored[key].is_matrix and {precision, model.compute_dtype} != {"float32"}:
                self._restored[key] = self._in_compute_dtype(self._stored[key], model.compute_dtype, number)
        self._steps = [self._prepared(model, number) for number, model in enumerate(models)]
        computed = [*self._restored.values(), *tf.nest.flatten(self._steps)]
        self.tracked = [*self._stored.values(), *computed]

    def _in_compute_dtype(self, stored, dtype, number):
        """A matrix as the models compute with it, ready before the first call."""
        return Computed(lambda: tf.cast(stored.value(), dtype), f"{self._name}_matrix_{number}")

    def _prepared(self, model, number):
        """`model.step_weights()`, with a `Computed` for each tensor."""

        def computed(name, owner, compute):
            def in_scope():  # from what is stored: a `Computed` may come after this one
                with scope_of({id(variable): self._stored[id(variable)].value() for variable in owner.weights}):
                    return compute()

            return Computed(in_scope, f"{self._name}_{number}_{name}")

        layers = [
            [
                computed(f"layer_{depth}_{part}", layer, lambda layer=layer, part=part: layer.step_weights()[part])
                for part in range(len(layer.step_weights()))
            ]
            for depth, layer in enumerate(model.decoder.layers)
        ]
        output = computed("output", model.output_map, model.output_weights)
        return StepWeights(layers, output, cast=[])  # `scope` has them cast

    def scope(self):
        """A scope in which the models' variables have the export's values, read where this is called."""
        ready = {key: computed.read() for key, computed in self._restored.items()}
        return scope_of({key: ready[key] if key in ready else one.value() for key, one in self._stored.items()})

    def step_weights(self):
        """`Transformer.step_weights()` of each model, read where this is called."""
        return tf.nest.map_structure(lambda computed: computed.read(), self._steps)


def scope_of(values):
    """A scope in which variables have other values: {id(variable): tensor}, whatever its dtype."""
    scope = keras.StatelessScope()
    scope.state_mapping = values  # set here, as the scope's own argument would cast them back
    return scope


def _digest(models, variables):
    """Hexadecimal digits that name these weights and what is computed of them."""
    digest = hashlib.sha256(json.dumps([model.get_config() for model in models], sort_keys=True).encode())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:32]
