"""Reports whether a stock TensorFlow Serving can run a SavedModel.

On the command line: `python -m keras_transformer.export.checks.doctor PATH`.
"""

import argparse
import io
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import tensorflow as tf
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from keras_transformer.console import safe_console
from keras_transformer.export.checks.saved_model import Contents, read_saved_model
from keras_transformer.export.checks.served_ops import TEXT_VERSION, text_ops, unsupported_ops
from keras_transformer.export.readme import broken_files
from keras_transformer.inputs.paths import checked_path

NAMESAKE = "keras-transformer"  # another project on PyPI that installs a package of the same import name
MEBIBYTE = 1 << 20
INTEGER_PRODUCT = "QuantizedMatMulWithBiasAndDequantize"
NEEDS_VNNI = "the server needs oneDNN and a processor with VNNI (Intel since 2019, AMD since 2022)"


@dataclass(frozen=True)
class Report:
    """The result of `doctor`. `str` gives it as text; `print` from rich shows it as tables.

    Attributes:
        contents: `saved_model.Contents`.
        unsupported: a dictionary of op or function to the reason why a stock server does not run it.
        broken: a list of the files that differ from the export's SHA256SUMS, or None if it has no such file.
        namesake: str, the version of the other project `keras-transformer` if it is installed, or None.
    """

    contents: Contents
    unsupported: dict
    broken: list | None
    namesake: str | None

    @property
    def healthy(self):
        """True if a stock server runs the model and no file was changed."""
        return not self.unsupported and not self.broken

    def __rich__(self):
        return Group(Text(str(self.contents.path), style="bold"), self._signatures(), self._facts())

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

    def _facts(self):
        contents = self.contents
        used_text_ops = sorted(text_ops().intersection(contents.ops))
        rows = {
            "graph": f"{contents.ops.total()} ops of {len(contents.ops)} kinds in {contents.num_functions} functions",
            "TensorFlow Text": ", ".join(used_text_ops) or "no op is used",
            "versions": f"written by TensorFlow {contents.tensorflow_version}, read here by {tf.__version__}; "
            f"a server has TensorFlow Text {TEXT_VERSION}",
            **({"8-bit integers": NEEDS_VNNI} if INTEGER_PRODUCT in contents.ops else {}),
            "size": f"{contents.size / MEBIBYTE:.1f} MiB in {len(contents.files)} files; {self._integrity()}",
            "warm-up": "no records: the first request will be slow"
            if contents.num_warmup_records is None
            else f"{contents.num_warmup_records} records",
            "a stock server": "does not run these:" if self.unsupported else "has every op",
            **{f"  {name}": reason for name, reason in self.unsupported.items()},
        }
        if self.namesake is not None:
            rows["warning"] = namesake_warning(self.namesake)
        table = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            table.add_row(Text(name), Text(value))
        return table

    def _integrity(self):
        if self.broken is None:
            return "there is no SHA256SUMS to check them"
        if self.broken:
            return f"these differ from SHA256SUMS: {', '.join(self.broken)}"
        return "all agree with SHA256SUMS"


def doctor(path):
    """Examine a SavedModel without running it.

    Any SavedModel can be examined, not only an export of this package.

    Example:
        ```python
        import tensorflow as tf
        from keras_transformer.export.checks.doctor import doctor

        module = tf.Module()
        module.upper = tf.function(tf.strings.upper, input_signature=[tf.TensorSpec([None], tf.string)])
        tf.saved_model.save(module, "upper/1", signatures=module.upper)
        report = doctor("upper/1")
        assert report.healthy
        print(report)
        ```

    Args:
        path: the SavedModel's folder.

    Returns:
        A `Report`. Its attribute `healthy` is True if a stock server runs the model and no file was changed.

    Raises:
        FileNotFoundError: the folder does not exist or holds no SavedModel.
        ValueError: a file that is not a SavedModel, broken warm-up records, or a broken SHA256SUMS.
    """
    contents = read_saved_model(checked_path(path))
    return Report(contents, unsupported_ops(contents), broken_files(path), namesake_version())


def namesake_version():
    """The version of the other project of this import name, or None if it is not installed."""
    try:
        return version(NAMESAKE)
    except PackageNotFoundError:
        return None


def namesake_warning(installed):
    """What is wrong if the other project is installed in a version, and what to do."""
    return (
        f"another project, {NAMESAKE} {installed}, is installed here. Its package has the same import "
        f"name. Run pip uninstall {NAMESAKE}, then install keras-transformer-translation again."
    )


def main(arguments=None):
    """Print the report. Return the exit status: 1 if something is wrong with the path or the model, else 0."""
    parser = argparse.ArgumentParser(prog="python -m keras_transformer.export.checks.doctor", description=__doc__)
    parser.add_argument("path", help="the folder of a SavedModel, for example saved_models/en_de/1")
    try:
        report = doctor(parser.parse_args(arguments).path)
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    safe_console().print(report)
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
