"""Where the time of decoding one batch goes: every op of a served graph is timed and put into a group.

    python benchmarks/decode_profile.py --output DIR --preset multi30k_tiny --batch 32 --beam 4 --threads 1

exports the same model and search as decode.py, loads the export as a server does, and traces one call after warm-up.
The table also has a lower bound: the time that the products with weights would take at the rate of this machine. That
rate is measured in the same process, by the product of two square matrices of train_step.py. The trace slows a call
down, so only the shares of the time count, not its sum.
"""

import math
import tempfile
from pathlib import Path
from typing import Annotated

import decode
import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import repeat, shares
from train_contenders import Case
from train_step import MATRIX_SIZE, matrix_product

OUTPUT_MAP = "output map"
# A group: parts of the names or kinds of its ops. The first group that fits is taken. oneDNN's kinds begin with _Mkl.
GROUPS = {
    "normalization": ("layer_norm",),
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
    """Return the group of a node. A product with one column for each piece of the vocabulary is the output map's."""
    if "MatMul" in kind and columns == vocabulary_size:
        return OUTPUT_MAP
    for group, parts in GROUPS.items():
        if any(part in kind or (part.islower() and part in name) for part in parts):
            return group
    return "everything else"


def traced(folder, ids, threads, calls):
    """Return the seconds of a call, and a list of (name, kind, columns, nanoseconds), the nodes of one traced call."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph(), config=v1.ConfigProto(intra_op_parallelism_threads=threads)) as session:
        served = v1.saved_model.load(session, ["serve"], str(folder / "export")).signature_def["serving_default"]
        [output], feed = served.outputs.values(), {served.inputs["source"].name: ids}
        seconds = repeat(lambda: session.run(output.name, feed), fewest=calls).median
        trace = v1.RunMetadata()
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
        session.run(output.name, feed, options=options, run_metadata=trace)
    kinds = {node.name: node.op for graph in trace.partition_graphs for node in graph.node}
    nodes = []
    for device in trace.step_stats.dev_stats:
        for node in device.node_stats:
            shape = node.output[0].tensor_description.shape.dim if node.output else ()
            columns = shape[-1].size if shape else None
            nanoseconds = node.op_end_rel_nanos - node.op_start_rel_nanos
            nodes.append((node.node_name, kinds.get(node.node_name, ""), columns, nanoseconds))
    return seconds, nodes


def work(model, batch, beam):
    """Return the multiplications and additions of all tokens with the weights of the decoder and of the output map.

    At the first token a sentence has one hypothesis, later `beam` of them.
    """
    layers = sum(math.prod(weight.shape) for weight in model.decoder.weights if len(weight.shape) == 2)
    memory = [layer.memory_attention for layer in model.decoder.layers]  # its keys and values: once for a source token
    once = sum(math.prod(x.kernel.shape) for m in memory for x in (m.key_projection, m.value_projection))
    tokens = batch * (1 + beam * (decode.TARGET - 1))
    return 2 * (layers - once + model.d_model * model.target_vocabulary_size) * tokens


def profile(preset, contender, batch, beam, threads, calls):
    """Return the seconds of a call, their lower bound, and each group's share and number of nodes a token."""
    ids = decode.sources(batch, decode.VOCABULARIES.get(preset, 281))
    with tempfile.TemporaryDirectory() as folder:
        decode.ours(preset, f"export{contender}", beam, threads, Path(folder))
        seconds, nodes = traced(Path(folder), ids, threads, calls)
    model = decode.make_model(preset)
    ops = [(group_of(*node, model.target_vocabulary_size), nanoseconds) for *node, nanoseconds in nodes]
    square = matrix_product(Case(preset, 0, 0, 0, contender.strip() or "float32", threads, {}))
    floor = work(model, batch, beam) / (2 * MATRIX_SIZE**3) * repeat(square, 1.0).median
    return {"seconds": seconds, "floor_seconds": floor, "groups": shares(ops, "nodes_a_token", decode.TARGET)}


def table(result):
    """Return a table in Markdown with a row for each group, and the lower bound."""
    rows = [
        (group, f"{figures['share']:.1%}", f"{figures['nodes_a_token']:.0f}")
        for group, figures in result["groups"].items()
    ]
    seconds, floor = result["seconds"], result["floor_seconds"]
    nodes = sum(figures["nodes_a_token"] for figures in result["groups"].values())
    rows.append(("all", f"{seconds * 1e3:.0f} ms", f"{nodes:.0f}"))
    rows.append(("only products, at this machine's rate", f"{floor * 1e3:.0f} ms, {floor / seconds:.0%}", ""))
    return markdown_table(("group", "share of the time", "nodes a token"), rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for decode_profile.json and .md.")],
    preset: Annotated[list[str] | None, typer.Option(help="Presets to trace; all of decode.py if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batches; 1 and 32 if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    bfloat16: Annotated[bool, typer.Option(help="Trace mixed_bfloat16 models.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 1,
    calls: Annotated[int, typer.Option(help="Calls timed before the traced one.")] = 5,
):
    """Trace, and write the results."""
    contender = " bfloat16" if bfloat16 else ""
    cases = [(p, b, w) for p in preset or decode.VOCABULARIES for b in batch or (1, 32) for w in beam or (1, 4)]

    def measure_case(case):
        p, b, w = case
        facts = {"preset": p, "dtype": contender.strip() or "float32", "batch": b, "beam": w, "threads": threads}
        return facts, in_a_process(__file__, p, contender, b, w, threads, calls)

    measured = [result for [result] in in_rounds(cases, measure_case)]
    text = "\n\n".join(f"**{', '.join(map(str, facts.values()))}**\n\n{table(figures)}" for facts, figures in measured)
    write_results(output, "decode_profile", [{**facts, **figures} for facts, figures in measured], text)


if __name__ == "__main__":
    run_script(main, profile)
