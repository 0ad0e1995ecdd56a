"""Whether a stock TensorFlow Serving can run a SavedModel: `python -m keras_transformer.export.checks.doctor PATH`."""

import argparse
import io
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import tensorflow as tf
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from keras_transformer.export.card import broken_files
from keras_transformer.export.checks.saved_model import Contents, read_saved_model
from keras_transformer.export.checks.served_ops import TEXT_VERSION, lacking, text_ops

NAMESAKE = "keras-transformer"  # another project on PyPI, which installs a package of our import name
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Report:
    """What `doctor` found; `str` gives it as text, rich prints it as tables.

    Attributes:
        contents: `saved_model.Contents`.
        lacking: a dictionary of what a stock server does not run to the reason; empty if nothing.
        broken: files that are not as the export's SHA256SUMS says; None where it has none.
        namesake: str, the version of `keras-transformer` that is installed here, or None.
    """

    contents: Contents
    lacking: dict
    broken: list | None
    namesake: str | None

    @property
    def healthy(self):
        """Whether a stock server runs it, from files as they were written."""
        return not self.lacking and not self.broken

    def __rich__(self):
        return Group(Text(str(self.contents.path), style="bold"), self._signatures(), self._findings())

    def __str__(self):
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(self)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())

    def _signatures(self):
        table = Table("signature", "inputs", "outputs", show_lines=True)
        for name, signature in self.contents.signatures.items():
            sides = (signature.inputs, signature.outputs)
            rows = ("\n".join(f"{key}: {tensor}" for key, tensor in side.items()) for side in sides)
            table.add_row(Text(name), *map(Text, rows))
        return table if self.contents.signatures else Text("no signatures")

    def _findings(self):
        contents = self.contents
        used = sorted(text_ops().intersection(contents.ops))
        table = Table.grid(padding=(0, 2))
        rows = {
            "graph": f"{contents.ops.total()} ops of {len(contents.ops)} kinds in {contents.num_functions} functions",
            "TensorFlow Text": ", ".join(used) or "no op",
            "versions": f"written by TensorFlow {contents.tensorflow_version}, read by {tf.__version__}; "
            f"a server has TensorFlow Text {TEXT_VERSION}",
            "size": f"{contents.size / MEBIBYTE:.1f} MiB in {len(contents.files)} files, {self._integrity()}",
            "warm-up": "none: the first request is a slow one"
            if contents.num_warmup_records is None
            else f"{contents.num_warmup_records} records",
            "a stock server": "lacks what follows" if self.lacking else "has every op",
            **{f"  {name}": reason for name, reason in self.lacking.items()},
        }
        if self.namesake is not None:
            rows["warning"] = (
                f"{NAMESAKE} {self.namesake}, another project, is installed here with a package of the same import "
                f"name: pip uninstall {NAMESAKE}, then install keras-transformer-translation again"
            )
        for name, value in rows.items():
            table.add_row(Text(name), Text(value))
        return table

    def _integrity(self):
        if self.broken is None:
            return "without SHA256SUMS"
        return f"of which {', '.join(self.broken)} differ from SHA256SUMS" if self.broken else "all as in SHA256SUMS"


def doctor(path):
    """Look at a SavedModel without running it.

    Args:
        path: its folder.

    Returns:
        A `Report`.

    Raises:
        FileNotFoundError, ValueError: as in `read_saved_model`; a broken SHA256SUMS.
    """
    contents = read_saved_model(path)
    return Report(contents, lacking(contents), broken_files(path), _namesake())


def _namesake():
    try:
        return version(NAMESAKE)
    except PackageNotFoundError:
        return None


def main(arguments=None):
    """Print the report; the exit status is 1 where something is wrong with the path or the model."""
    parser = argparse.ArgumentParser(prog="python -m keras_transformer.export.checks.doctor", description=__doc__)
    parser.add_argument("path", help="the folder of a SavedModel, such as saved_models/en_de/1")
    try:
        report = doctor(parser.parse_args(arguments).path)
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    Console().print(report)
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
