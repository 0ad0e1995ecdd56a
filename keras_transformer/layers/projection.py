"""x·W + b, in 8-bit integers if asked."""

import keras
from keras import ops

from keras_transformer.int8 import int8_product


class Projection(keras.layers.Dense):
    """`keras.layers.Dense`; after `quantize("int8")` with the same numbers as Keras', by faster kernels."""

    def add_weight(self, *args, **options):
        autocast = options.get("name") != "kernel_scale"  # not rounded to half precision
        return super().add_weight(*args, **{"autocast": autocast, **options})

    def quantize(self, mode=None, type_check=False, config=None):
        super().quantize(mode, type_check, config)

    def quantized_call(self, inputs, training=None):
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        x = ops.cast(int8_product(rows, self._kernel, self.kernel_scale), self.compute_dtype)
        x = ops.reshape(x, (*ops.shape(inputs)[:-1], self.units))
        x = x if self.bias is None else x + self.bias
        return x if self.activation is None else self.activation(x)
