"""Print the presets with their sizes."""

from typing import Any

from keras_transformer.presets.named import PRESETS
from keras_transformer.presets.parameters import count_parameters
from keras_transformer.presets.table_3 import TABLE_3

# With the first, all rows of the base model round to the paper's numbers. The second is the paper's vocabulary.
VOCABULARIES = (41_100, 37_000)


def preset_table() -> Any:
    """The presets and their parameters, as a `rich.table.Table`.

    P is the rate of dropout, and ε the label smoothing of the training. The last column holds the paper's numbers of
    Table 3. No vocabulary explains all of them: with 41,100 pieces, all rows round to the numbers of the paper but the
    big model's, which wants about 36,000.
    """
    from rich.table import Table

    table = Table(title="Presets", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("preset")
    sizes = [f"parameters,\nV = {size:,}" for size in VOCABULARIES]
    for name in ("N", "d_\nmodel", "d_ff", "h", "d_k,\nd_v", "P", "ε", *sizes, "paper\n×10⁶"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, preset in PRESETS.items():
        counts = [f"{count_parameters(size, **preset):,}" for size in VOCABULARIES]
        row = TABLE_3.get(name)
        smoothing = str(row.label_smoothing if row else TABLE_3["paper_base"].label_smoothing)
        table.add_row(name, *shape(preset), smoothing, *counts, str((row and row.millions) or ""))
    return table


def shape(preset):
    """The cells of a preset's architecture."""
    layers = dict.fromkeys(preset[f"num_{side}_layers"] for side in ("encoder", "decoder"))
    widths = dict.fromkeys(preset.get(name) or preset["d_model"] // preset["num_heads"] for name in ("d_k", "d_v"))
    return (
        "+".join(map(str, layers)),
        str(preset["d_model"]),
        "+".join(map(str, dict.fromkeys((preset["d_ff"], preset.get("decoder_d_ff") or preset["d_ff"])))),
        str(preset["num_heads"]),
        ",".join(map(str, widths)),
        str(preset["dropout"]),
    )


def print_presets(console: Any = None) -> None:
    """Print the presets, with the exact number of their parameters beside the paper's.

    Example:
        ```python
        from keras_transformer.presets import print_presets

        print_presets()
        ```

    Args:
        console: a `rich.console.Console`. None prints to the standard output.
    """
    from rich.console import Console

    (console or Console()).print(preset_table())
