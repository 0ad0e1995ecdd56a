"""Pictures of attention and training, and pages of attention, from arrays and labels. They need the extra `plots`."""

from keras_transformer.plots.attention_page import attention_html
from keras_transformer.plots.figures import attention_map, learning_curves, learning_rate, training_curves

__all__ = ["attention_html", "attention_map", "learning_curves", "learning_rate", "training_curves"]
