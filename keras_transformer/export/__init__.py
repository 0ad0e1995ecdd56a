"""A model to a service: a SavedModel that takes strings and gives strings."""

from keras_transformer.export.server.serving_files import Batching
from keras_transformer.export.write import export

__all__ = ["Batching", "export"]
