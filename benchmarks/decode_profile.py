"""Where the time of decoding one batch goes: every op of a served graph, timed and put into groups.

    python benchmarks/decode_profile.py --output DIR --preset multi30k_tiny --batch 32 --beam 4 --threads 1

exports the same model and search as decode.py, loads it as a server does, and traces one call after warm-up. Beside
the groups stands the floor: the time that the matrix products would take at the rate of this machine, measured in the
same process by train_step.py's product of two squares. The trace slows a call down; shares count, not sums.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Annotated

import decode
import typer
from processes import in_a_process, median_seconds, shares, write
from train_contenders import Case
from train_step import MATRIX_SIZE, matrix_product

OUTPUT_MAP = "output map"
# What an op belongs to, by parts of its name or kind; the first that fits. oneDNN's kinds begin with _Mkl.
GROUPS = {
    "normalisation": ("layer_norm",),
    "attention products": ("BatchMatMul",),
    "projections and feed-forward": ("MatMul",),
    "softmax": ("Softmax", "Exp"),
    "the best tokens": ("TopK", "Max", "ArgMax"),
    "caches and order of hypotheses": ("InplaceUpdate", "Pad", "Gather", "Empty"),
    "shapes, constants and control flow": (
        *("Shape", "Reshape", "StridedSlice", "Pack", "Range", "Prod", "Const", "ReadVariableOp", "VarHandleOp"),
        *("Switch", "Merge", "Enter", "Exit", "NextIteration", "Identity", "LoopCond", "Unpack", "Fill"),
    ),
}


def group_of(name, kind, columns, vocabulary_size):
    """Which group a node belongs to; products over the vocabulary, the first token's and the others', are one."""
    if "MatMul" in kind and columns == vocabulary_size:
        return OUTPUT_MAP
    for group, parts in GROUPS.items():
        if any(part in kind or (part.islower() and part in name) for part in parts):
            return group
    return "everything else"


def traced(folder, ids, threads, calls):
    """Seconds of a call, and the nodes of one traced call: (name, kind, columns, nanoseconds) each."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph(), config=v1.ConfigProto(intra_op_parallelism_threads=threads)) as session:
        served = v1.saved_model.load(session, ["serve"], str(folder / "export")).signature_def["serving_default"]
        [output], feed = served.outputs.values(), {served.inputs["source"].name: ids}
        seconds, _ = median_seconds(lambda: session.run(output.name, feed), 0, fewest=2 + calls)
        found = v1.RunMetadata()
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
        session.run(output.name, feed, options=options, run_metadata=found)
    kinds = {node.name: node.op for graph in found.partition_graphs for node in graph.node}
    nodes = []
    for device in found.step_stats.dev_stats:
        for node in device.node_stats:
            shape = node.output[0].tensor_description.shape.dim if node.output else ()
            columns = shape[-1].size if shape else None
            nanoseconds = node.op_end_rel_nanos - node.op_start_rel_nanos
            nodes.append((node.node_name, kinds.get(node.node_name, ""), columns, nanoseconds))
    return seconds, nodes


def work(model, batch, beam):
    """Multiplications and additions of all tokens with the weights of the decoder and the output map.

    The first token is one hypothesis' for each sentence.
    """
    layers = sum(math.prod(weight.shape) for weight in model.decoder.weights if len(weight.shape) == 2)
    memory = [layer.memory_attention for layer in model.decoder.layers]  # its keys and values: once a source token
    once = sum(math.prod(x.kernel.shape) for m in memory for x in (m.key_projection, m.value_projection))
    tokens = batch * (1 + beam * (decode.TARGET - 1))
    return 2 * (layers - once + model.d_model * model.target_vocabulary_size) * tokens


def profile(preset, contender, batch, beam, threads, calls):
    """The groups' shares, the count of nodes a token, and the floor."""
    ids = decode.sources(batch, decode.VOCABULARIES.get(preset, 281))
    with tempfile.TemporaryDirectory() as folder:
        decode.ours(preset, f"export{contender}", beam, threads, Path(folder))
        seconds, nodes = traced(Path(folder), ids, threads, calls)
    model = decode.make_model(preset)
    ops = [(group_of(*node, model.target_vocabulary_size), nanoseconds) for *node, nanoseconds in nodes]
    square = matrix_product(Case(preset, 0, 0, 0, contender.strip() or "float32", threads, {}))
    floor = work(model, batch, beam) / (2 * MATRIX_SIZE**3) * median_seconds(square, 1.0)[0]
    return {"seconds": seconds, "floor_seconds": floor, "groups": shares(ops, "nodes_a_token", decode.TARGET)}


def table(result):
    """Markdown: a row a group, and the floor."""
    lines = ["| group | share of the time | nodes a token |", "|---|---|---|"]
    for group, row in result["groups"].items():
        lines.append(f"| {group} | {row['share']:.1%} | {row['nodes_a_token']:.0f} |")
    nodes = sum(row["nodes_a_token"] for row in result["groups"].values())
    lines.append(f"| all | {result['seconds'] * 1e3:.0f} ms | {nodes:.0f} |")
    floor = result["floor_seconds"]
    lines.append(f"| products alone at this machine's rate | {floor * 1e3:.0f} ms, {floor / result['seconds']:.0%} | |")
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for decode_profile.json and .md.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help="Presets to trace; all of decode.py if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batches; 1 and 32 if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    bfloat16: Annotated[bool, typer.Option(help="Trace mixed_bfloat16 models.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 1,
    calls: Annotated[int, typer.Option(help="Calls timed before the traced one.")] = 5,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Trace, and write what was found."""
    if worker:
        print(json.dumps(profile(*json.loads(worker))))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    contender = " bfloat16" if bfloat16 else ""
    results, texts = [], []
    for p in preset or decode.VOCABULARIES:
        for b in batch or (1, 32):
            for w in beam or (1, 4):
                found = in_a_process(__file__, p, contender, b, w, threads, calls)
                case = {"preset": p, "dtype": contender.strip() or "float32", "batch": b, "beam": w, "threads": threads}
                results.append({**case, **found})
                texts.append(f"**{', '.join(map(str, case.values()))}**\n\n{table(found)}")
    write(output, "decode_profile", results, "\n\n".join(texts))


if __name__ == "__main__":
    typer.run(main)
