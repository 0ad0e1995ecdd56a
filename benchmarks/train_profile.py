"""Where the time of one update goes: every op of the step of `fit` is timed and put into a group.

    python benchmarks/train_profile.py --output DIR --preset multi30k_tiny

trains as train_step.py does. After warm-up, TensorFlow's profiler traces a few updates. Two ops may run at the same
time. Then the sum of their times is longer than the update. So only the shares of the time count, not its sum.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import repeat, shares
from train_contenders import Case, ours
from train_step import CONFIGURATIONS, DTYPES, cases_of

STEPS = 5  # traced
# A group: parts of the names or kinds of its ops. The first group that fits is taken. oneDNN's kinds begin with _Mkl.
GROUPS = {
    "attention products": ("BatchMatMul",),
    "products with weights": ("MatMul",),
    "loss without its product": ("compile_loss",),
    "dropout": ("dropout", "StatelessRandom"),
    "normalization": ("layer_norm",),
    "attention: softmax and masks": ("Softmax", "/SelectV2"),
    "attention: heads apart and together": ("Transpose",),
    "Adam": ("ApplyAdam",),
    "biases, ReLU": ("Bias", "Relu"),
    "casts": ("Cast",),
}
# The gradient of a layer normalization is written out, and the names of its ops do not contain a layer's name.
OF_NORMALIZATION = ("Mul", "Sub", "Mean", "Sum", "Square")
OTHERS = "everything else"


def group_of(name, kind):
    """Return the group of an op."""
    for group, parts in GROUPS.items():
        if any(part in f"{name}:{kind}" for part in parts):
            return group
    return "normalization" if kind in OF_NORMALIZATION and "transformer" not in name else OTHERS


def traced(step):
    """Return the ops of `STEPS` calls as a list of (name, kind, seconds)."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(STEPS):
                step()
        space = xplane_pb2.XSpace()
        [path] = Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(path.read_bytes())
    ops = []
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and not name.endswith(":") and kind.isidentifier():  # "Executor::Run" is no op
                ops.append((name, kind, event.duration_ps * 1e-12))
    return ops


def profile(case, seconds):
    """Return the seconds of an update, and each group's share and number of ops."""
    update = ours(Case(*case))
    seconds = repeat(update, seconds, fewest=STEPS).median
    ops = [(group_of(name, kind), duration) for name, kind, duration in traced(update)]
    whole = sum(duration for _, duration in ops)
    return {"seconds": seconds, "sum_of_ops": whole / STEPS, "groups": shares(ops, "ops", STEPS)}


def table(result):
    """Return a table in Markdown with a row for each group."""
    rows = [(group, f"{figures['share']:.1%}", f"{figures['ops']:.0f}") for group, figures in result["groups"].items()]
    ops = sum(figures["ops"] for figures in result["groups"].values())
    rows.append((f"all: {result['seconds'] * 1e3:.0f} ms", f"{result['sum_of_ops'] * 1e3:.0f} ms", f"{ops:.0f}"))
    return markdown_table(("group", "share of the time", "ops"), rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for train_profile.json and .md.")],
    preset: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONFIGURATIONS)}; all if none.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DTYPES)}; both if none.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a batch instead of the configuration's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time for the updates before the traced ones.")] = 5.0,
):
    """Trace, and write the results."""
    cases = cases_of(preset, dtype, rows, threads)
    profiles = [result for [result] in in_rounds(cases, lambda case: in_a_process(__file__, case, seconds))]
    measured = list(zip(cases, profiles, strict=True))
    text = "\n\n".join(f"**{case.preset}, {case.dtype}**\n\n{table(figures)}" for case, figures in measured)
    write_results(output, "train_profile", [{**case._asdict(), **figures} for case, figures in measured], text)


if __name__ == "__main__":
    run_script(main, profile)
