"""Pictures of attention and training, and pages of attention, from arrays and labels. They need the extra `plots`."""

from keras_transformer.plots.attention_page import attention_html
from keras_transformer.plots.figures import attention_map, learning_curves, learning_rate, training_curves
from keras_transformer.plots.heads import join_pieces, most_different_heads, sharpest_heads
from keras_transformer.plots.lines import attention_lines

__all__ = [
    "attention_html",
    "attention_lines",
    "attention_map",
    "join_pieces",
    "learning_curves",
    "learning_rate",
    "most_different_heads",
    "sharpest_heads",
    "training_curves",
]
