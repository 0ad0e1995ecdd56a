"""Named sets of `Transformer` arguments, the rows of the paper's Table 3, and what they cost."""

from keras_transformer.presets.costs import Costs, training_costs
from keras_transformer.presets.named import PRESETS, preset
from keras_transformer.presets.parameters import count_parameters
from keras_transformer.presets.printing import preset_table, print_presets
from keras_transformer.presets.table_3 import TABLE_3, Row

__all__ = [
    "PRESETS",
    "TABLE_3",
    "Costs",
    "Row",
    "count_parameters",
    "preset",
    "preset_table",
    "print_presets",
    "training_costs",
]
