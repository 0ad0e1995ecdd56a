"""Where the time of one update goes: every op of the step of `fit`, timed and put into groups.

    python benchmarks/train_profile.py --output DIR --preset multi30k_tiny

trains as train_step.py does, and traces a few updates after warm-up by TensorFlow's profiler. Two ops may run at the
same time, so that the sum of their times is longer than an update; shares count, not sums.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, median_seconds, shares, write
from train_contenders import Case, ours
from train_step import CONFIGURATIONS, DTYPES

STEPS = 5  # traced
# What an op belongs to, by parts of its name or kind; the first that fits. oneDNN's kinds begin with _Mkl.
GROUPS = {
    "attention products": ("BatchMatMul",),
    "products with weights": ("MatMul",),
    "loss besides its product": ("compile_loss",),
    "dropout": ("dropout", "StatelessRandom"),
    "normalisation": ("layer_norm",),
    "attention: softmax and masks": ("Softmax", "/SelectV2"),
    "attention: heads apart and together": ("Transpose",),
    "Adam": ("ApplyAdam",),
    "biases, ReLU": ("Bias", "Relu"),
    "casts": ("Cast",),
}
# The gradient of a layer normalisation is written out, and its ops carry no layer's name.
OF_NORMALISATION = ("Mul", "Sub", "Mean", "Sum", "Square")
OTHERS = "everything else"


def group_of(name, kind):
    """Which group an op belongs to."""
    for group, parts in GROUPS.items():
        if any(part in f"{name}:{kind}" for part in parts):
            return group
    return "normalisation" if kind in OF_NORMALISATION and "transformer" not in name else OTHERS


def traced(step):
    """The ops of `STEPS` calls: (name, kind, seconds) each."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(STEPS):
                step()
        space = xplane_pb2.XSpace()
        [path] = Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(path.read_bytes())
    found = []
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and not name.endswith(":") and kind.isidentifier():  # "Executor::Run" is none
                found.append((name, kind, event.duration_ps * 1e-12))
    return found


def profile(case, seconds):
    """Seconds of an update, and each group's share and number of ops."""
    step = ours(case)
    seconds, _ = median_seconds(step, seconds, fewest=2 + STEPS)
    ops = [(group_of(name, kind), taken) for name, kind, taken in traced(step)]
    whole = sum(taken for _, taken in ops)
    return {"seconds": seconds, "sum_of_ops": whole / STEPS, "groups": shares(ops, "ops", STEPS)}


def table(result):
    """Markdown: a row a group."""
    lines = ["| group | share of the time | ops |", "|---|---|---|"]
    lines += [f"| {group} | {row['share']:.1%} | {row['ops']:.0f} |" for group, row in result["groups"].items()]
    ops = sum(row["ops"] for row in result["groups"].values())
    lines.append(f"| all: {result['seconds'] * 1e3:.0f} ms | {result['sum_of_ops'] * 1e3:.0f} ms | {ops:.0f} |")
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for train_profile.json and .md.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONFIGURATIONS)}; all if none.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(DTYPES)}; both if none.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a batch instead of the configuration's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time for the updates before the traced ones.")] = 5.0,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Trace, and write what was found."""
    if worker:
        case, seconds = json.loads(worker)
        print(json.dumps(profile(Case(*case), seconds)))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    from keras_transformer.presets import preset as sizes

    results, texts = [], []
    for p in preset or CONFIGURATIONS:
        vocabulary_size, own_rows, length = CONFIGURATIONS[p]
        for d in dtype or DTYPES:
            case = Case(p, vocabulary_size, rows or own_rows, length, d, threads, sizes(p))
            found = in_a_process(__file__, case, seconds)
            results.append({**case._asdict(), **found})
            texts.append(f"**{p}, {d}**\n\n{table(found)}")
    write(output, "train_profile", results, "\n\n".join(texts))


if __name__ == "__main__":
    typer.run(main)
