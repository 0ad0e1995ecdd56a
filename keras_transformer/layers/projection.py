"""x·W + b, in 8-bit integers if asked."""

import keras
from keras import ops

from keras_transformer.backend.int8 import int8_product, is_plain
from keras_transformer.backend.kernels import tensorflow_backend


class Projection(keras.layers.Dense):
    """`keras.layers.Dense`; after `quantize("int8")` by faster kernels, with scales in float32 whatever the policy."""

    def add_weight(self, *args, **options):
        autocast = options.get("name") != "kernel_scale"  # not rounded to half precision
        return super().add_weight(*args, **{"autocast": autocast, **options})

    def quantize(self, mode=None, type_check=True, config=None):
        super().quantize(mode, type_check=False, config=config)
        self.supports_jit = self.supports_jit and tensorflow_backend() is None  # XLA lacks the kernel

    def quantized_call(self, inputs, training=None):
        if self.lora_enabled or not is_plain(self.quantization_mode, self.quantization_config):
            return super().quantized_call(inputs, training=training)
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        x = ops.cast(int8_product(rows, self._kernel, self.kernel_scale), self.compute_dtype)
        x = ops.reshape(x, (*ops.shape(inputs)[:-1], self.units))
        x = x if self.bias is None else x + self.bias
        return x if self.activation is None else self.activation(x)
