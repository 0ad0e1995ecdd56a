"""On JAX, programs are written in one context of MLIR. JAX makes one for each, which takes longer than the program."""

import functools

from jax._src.interpreters import mlir

mlir.make_ir_context = functools.cache(mlir.make_ir_context)
