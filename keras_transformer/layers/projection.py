"""x·W + b: the linear maps of attention and feed-forward networks."""

import keras
from keras import ops

from keras_transformer.backend import compat
from keras_transformer.backend.int8 import int8_product, is_plain
from keras_transformer.backend.kernels import tensorflow_backend


@keras.saving.register_keras_serializable(package="keras_transformer")
class Projection(keras.layers.Dense):
    """`keras.layers.Dense`. After `quantize("int8")` it multiplies by `int8_product`, with scales in float32."""

    def add_weight(self, *args, **options):
        autocast = options.get("name") != "kernel_scale"  # half precision would round the scales
        return super().add_weight(*args, **{"autocast": autocast, **options})

    def __delattr__(self, name):
        if isinstance(getattr(self, name), keras.Variable):
            compat.delete_variable(self, name)
        else:
            super().__delattr__(name)

    def matrices(self):
        """The floating-point matrices of the layer: its kernel, or nothing if it is quantized."""
        return [] if self.quantization_mode else [compat.kernel_variable(self)]

    def constants(self):
        """The variables that TensorFlow's graphs read while they are built, and never afterwards: the integers."""
        return [compat.kernel_variable(self), self.kernel_scale] if self.quantization_mode else []

    def quantize(self, mode=None, type_check=True, config=None):
        super().quantize(mode, type_check=False, config=config)
        self.supports_jit = self.supports_jit and tensorflow_backend() is None  # XLA lacks the kernel

    def quantized_call(self, inputs, training=None):
        if self.lora_enabled or not is_plain(self.quantization_mode, self.quantization_config):
            return super().quantized_call(inputs, training=training)
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        x = int8_product(rows, compat.kernel_variable(self), self.kernel_scale)
        x = ops.reshape(ops.cast(x, self.compute_dtype), (*ops.shape(inputs)[:-1], self.units))
        x = x if self.bias is None else x + self.bias
        return x if self.activation is None else self.activation(x)
