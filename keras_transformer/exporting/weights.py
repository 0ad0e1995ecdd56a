"""The models' weights as an export keeps them: once in its folder, and ready for use from when it is loaded."""

import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from keras_transformer.decoder_state import StepWeights


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

    Attributes:
        tracked: what a `tf.Module` must hold for its SavedModel to have the weights.
    """

    def __init__(self, models):
        self._models = models
        variables = {id(variable): variable for model in models for variable in model.weights}
        self._stored = {key: tf.Variable(variable.numpy(), trainable=False) for key, variable in variables.items()}
        self._name = _digest(models, self._stored.values())
        self._steps = [self._prepared(model, number) for number, model in enumerate(models)]
        self.tracked = [*self._stored.values(), *tf.nest.flatten(self._steps)]

    def _prepared(self, model, number):
        """`model.step_weights()`, with a `Computed` for each tensor."""

        def computed(name, owner, compute):
            def in_scope():
                with self.scope(owner.weights):
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

    def scope(self, variables=None):
        """A scope in which variables have the export's values, read where this is called.

        Args:
            variables: of the models; None for all.
        """
        keys = self._stored if variables is None else map(id, variables)
        scope = keras.StatelessScope()  # its argument would cast them back
        scope.state_mapping = {key: self._stored[key].read_value() for key in keys}
        return scope

    def step_weights(self):
        """`Transformer.step_weights()` of each model, read where this is called."""
        return tf.nest.map_structure(lambda computed: computed.read(), self._steps)


def _digest(models, variables):
    """Hexadecimal digits that name these weights and what is computed of them."""
    digest = hashlib.sha256(json.dumps([model.get_config() for model in models], sort_keys=True).encode())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()[:32]
