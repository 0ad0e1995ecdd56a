"""The paper's English to German: train on WMT 2014, score newstest2013 and newstest2014, and export.

    python examples/wmt14_en_de.py --output runs/wmt14_en_de                           # paper: the base model
    python examples/wmt14_en_de.py --output runs/wmt14_en_de_big --recipe paper_big

The corpora are downloaded from their public addresses. With `--data DIR` they come from a folder. Options after `--` go
to `keras-transformer train`. The same command goes on with a run that was interrupted. The training takes all GPUs of
the machine; with TF_CONFIG, all machines that it names.
"""

from pathlib import Path
from typing import Annotated

from keras_transformer_cli.quiet import end_quietly, quiet_startup

if __name__ == "__main__":
    end_quietly()
    quiet_startup()  # before TensorFlow is imported

import typer
import wmt14


def main(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    recipe: Annotated[str, typer.Option(help="paper, paper_big, or another recipe.")] = "paper",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora; downloaded if not given.")] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="More options of keras-transformer train, after --.", show_default="none")
    ] = None,
):
    """Train on WMT 2014, score newstest2013 and newstest2014 with both BLEUs, export, and print a result card."""
    wmt14.run("de", recipe, output, data, options or [])


if __name__ == "__main__":
    typer.run(main)
