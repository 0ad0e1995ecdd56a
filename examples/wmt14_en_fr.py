"""The paper's English to French: train on WMT 2014, score newstest2013 and newstest2014, and export.

    python examples/wmt14_en_fr.py --output runs/wmt14_en_fr                           # paper_en_fr: the base model
    python examples/wmt14_en_fr.py --output runs/wmt14_en_fr_big --recipe paper_big_en_fr

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
    recipe: Annotated[str, typer.Option(help="paper_en_fr, paper_big_en_fr, or another recipe.")] = "paper_en_fr",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora; downloaded if not given.")] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="More options of keras-transformer train, after --.", show_default="none")
    ] = None,
):
    """Train on WMT 2014, score newstest2013 and newstest2014 with both BLEUs, export, and print a result card."""
    wmt14.run("fr", recipe, output, data, options or [])


if __name__ == "__main__":
    typer.run(main)
