"""The numbers of training on the page of results: updates, the layers of Table 1."""

import statistics

import layer_tables
from results import markdown_table
from results_cards import bold, by, percent, read_card, span, times
from train_contenders import Case, flop

MATRIX = "matrix product"
CASES = {
    "tiny, float32": ("multi30k_tiny", "float32"),
    "tiny, bfloat16": ("multi30k_tiny", "bfloat16"),
    "base, float32": ("paper_base", "float32"),
    "base, bfloat16": ("paper_base", "bfloat16"),
}
CONTENDERS = {
    "ours": "ours, the step of `fit`",
    "torch": "`torch.nn.Transformer` 2.13, eager",
    "torch compile": "the same, `torch.compile`",
    "marian": "Marian's model in transformers",
    "keras-hub": "keras-hub's encoder and decoder layers",
    "joeynmt": "JoeyNMT's model",
}
IN_PYTORCH = ("torch", "torch compile", "marian", "joeynmt")
GOALS = {"tiny, float32": 2.5, "tiny, bfloat16": 2.5, "base, float32": 2.7, "base, bfloat16": 2}
KERAS_HUB_GOAL, FIT_GOAL, MEMORY_GOAL, GPU_GOAL = 1.2, 0.9, 1, 1.2
SHARE_GOALS = {"base, float32": 0.85, "base, bfloat16": 0.65}
# The title of a row, and the name in the card.
OPS = {
    "products with weights": "products with weights",
    "attention products": "attention products",
    "normalization": "normalisation",
    "loss without its product": "loss besides its product",
    "dropout": "dropout",
    "attention: heads apart and together": "attention: heads apart and together",
    "attention: softmax and masks": "attention: softmax and masks",
    "biases, ReLU": "biases, ReLU",
    "casts": "casts",
    "Adam": "Adam",
    "everything else": "everything else",
}
PRODUCT_OPS = ("products with weights", "attention products")
GPU_CONTENDERS = {"ours": "ours", "torch compile": "`torch.nn.Transformer`, `torch.compile`"}
GPU_MATRIX_SIZE = 8192


def updates(folder, *names):
    """Return {title of `CASES`: {contender: entry}} of cards of `train_step.py`."""
    entries = [entry for name in names for entry in read_card(folder, name)]
    found = by(entries, "preset", "dtype", "contender")
    cases = {title: {key[2]: entry for key, entry in found.items() if key[:2] == case} for title, case in CASES.items()}
    return {title: contenders for title, contenders in cases.items() if contenders}


def speed(contenders, name):
    return contenders[name]["tokens_per_second"]


def fastest_in_pytorch(contenders):
    return max(speed(contenders, name) for name in IN_PYTORCH if name in contenders)


def over_pytorch(contenders, name="ours"):
    """How many times as fast a contender is as the fastest in PyTorch."""
    return speed(contenders, name) / fastest_in_pytorch(contenders)


def matrix_share(contenders):
    return contenders["ours"]["gflops"] / contenders[MATRIX]["gflops"]


def over_leanest(contenders):
    """Our peak of memory over the smallest."""
    peaks = [entry["peak_mib"] for name, entry in contenders.items() if name in CONTENDERS]
    return contenders["ours"]["peak_mib"] / min(peaks)


def update_table(cases):
    def cell(contenders, name):
        if name not in contenders:
            return ""
        return f"{bold(f'{speed(contenders, name):,.0f}', name == 'ours')} ({contenders[name]['peak_mib']:,.0f})"

    rows = [[title, *(cell(case, name) for case in cases.values())] for name, title in CONTENDERS.items()]
    rows.append(["**ours / the fastest in PyTorch**", *(times(over_pytorch(case)) for case in cases.values())])
    over_hub = [times(speed(case, "ours") / speed(case, "keras-hub")) for case in cases.values()]
    rows.append(["**ours / keras-hub**", *over_hub])
    shares = [f"{case[MATRIX]['gflops']:.0f}; {percent(matrix_share(case))}" for case in cases.values()]
    rows.append(["matrix products of this machine, GFLOP/s; our share", *shares])
    return markdown_table(["", *cases], rows)


def products_table(cases):
    shares = [speed(case, "ours") / speed(case, "products") for case in cases.values()]
    rows = [
        ["ours", *(times(over_pytorch(case)) for case in cases.values())],
        ["only products", *(times(over_pytorch(case, "products")) for case in cases.values())],
        ["their share of ours", *(percent(share) for share in shares)],
    ]
    return markdown_table(["", *cases], rows)


def goals_table(cases, again, products, fit, gpu):
    rows = []
    for number, (title, goal) in enumerate(GOALS.items()):
        measured = [over_pytorch(run[title]) for run in (cases, again, products) if title in run]
        shown = bold(span(measured, 2), min(measured) >= goal)
        added = ", times the fastest in PyTorch" if number == 0 else ""
        rows.append([title + added, goal, shown, times(over_pytorch(products[title], "products"))])
    hub = [speed(case, "ours") / speed(case, "keras-hub") for case in cases.values()]
    rows.append(["times keras-hub", KERAS_HUB_GOAL, bold(span(hub, 2), min(hub) >= KERAS_HUB_GOAL), ""])
    for number, (title, goal) in enumerate(SHARE_GOALS.items()):
        share = matrix_share(cases[title])
        name = "the same, bfloat16" if number else f"share of the machine's products, {title}"
        rows.append([name, percent(goal), bold(percent(share), share >= goal), ""])
    rows.append(["`fit` / the bare step", percent(FIT_GOAL), bold(percent(fit), fit >= FIT_GOAL), ""])
    for name, model in (("tiny, float32 and bfloat16", "tiny"), ("base", "base")):
        ratios = [over_leanest(case) for title, case in cases.items() if title.startswith(model)]
        shown = ", ".join(bold(times(ratio), ratio <= MEMORY_GOAL) for ratio in ratios)
        rows.append([f"peak memory / the leanest, {name}", MEMORY_GOAL, shown, ""])
    faster, memory = gpu
    shown = bold(times(faster), faster >= GPU_GOAL)
    rows.append(["base on a GPU, bfloat16, times PyTorch compiled", GPU_GOAL, shown, ""])
    rows.append(["peak memory there / PyTorch's", MEMORY_GOAL, bold(times(memory), memory <= MEMORY_GOAL), ""])
    return markdown_table(["", "goal", "measured", "only products"], rows)


def training(folder):
    """All texts of the page about an update and its profile: {name: text}."""
    cases = updates(folder, "train_step/epyc_tiny", "train_step/epyc_base")
    again, products = updates(folder, "train_step/epyc_tiny_again"), updates(folder, "train_step/products")
    [fit] = read_card(folder, "train_step/train_fit")
    gpu = Gpu(folder)
    tiny = cases["tiny, float32"]
    return {
        "speed": update_table(cases),
        "again_tokens": " and ".join(f"{speed(case, 'ours'):,.0f}" for case in again.values()),
        "again_ratios": " and ".join(times(over_pytorch(case)) for case in again.values()),
        "products": products_table(products),
        "goals": goals_table(cases, again, products, fit["fit"] / fit["bare"], (gpu.faster, gpu.memory)),
        "fit_share": percent(fit["fit"] / fit["bare"]),
        "fit_tokens": f"{fit['fit']:,.0f} and {fit['bare']:,.0f} tokens/s",
        "imports_ours": f"{tiny['ours']['imports_mib']:.0f}",
        "imports_torch": f"{tiny['torch']['imports_mib']:.0f}",
        **profile_values(folder, products),
    }


def profile_values(folder, products):
    entries = by(read_card(folder, "train_step/profile"), "preset", "dtype")
    cases = {title: entries[case]["groups"] for title, case in CASES.items()}
    rows = [[title, *(percent(case[name]["share"], 1) for case in cases.values())] for title, name in OPS.items()]
    ops = [f"{sum(group['ops'] for group in case.values()):,.0f}" for case in cases.values()]
    tiny = "tiny, float32"
    lost = 1 - over_pytorch(products[tiny]) / GOALS[tiny]  # of the time, to reach the goal
    rests = {title: 1 - sum(case[name]["share"] for name in PRODUCT_OPS) for title, case in cases.items()}
    return {
        "profile": markdown_table(["share of the time", *cases], [*rows, ["ops", *ops]]),
        "profile_ops": ops[0],
        "products_tiny": times(over_pytorch(products[tiny])),
        "lost": percent(lost),
        "lost_float32": percent(lost / rests[tiny]),
        "lost_bfloat16": percent(lost / rests["tiny, bfloat16"]),
    }


class Gpu:
    """The update on a GPU: medians of the rounds."""

    def __init__(self, folder):
        self.card = read_card(folder, "train_step_gpu/h100")
        self.case = Case(**self.card["case"])
        self.rounds = {name: [each["seconds"] for each in self.card[name]] for name in GPU_CONTENDERS}
        self.seconds = {name: statistics.median(rounds) for name, rounds in self.rounds.items()}
        self.peaks = {name: statistics.median(each["peak_mib"] for each in self.card[name]) for name in GPU_CONTENDERS}
        self.faster = self.seconds["torch compile"] / self.seconds["ours"]
        self.memory = self.peaks["ours"] / self.peaks["torch compile"]

    def share(self, name, matrix_rate):
        return percent(flop(self.case) / self.seconds[name] / matrix_rate)


def gpu(folder):
    """All texts of the page about the update on a GPU: {name: text}."""
    run = Gpu(folder)
    in_a_row = 1e12 * read_card(folder, "train_step_gpu/matrix_rate")["tflops"]
    in_turn = 2 * GPU_MATRIX_SIZE**3 / statistics.median(each["seconds"] for each in run.card[MATRIX])
    rows = []
    for name, title in GPU_CONTENDERS.items():
        is_ours = name == "ours"
        tokens = f"{run.case.tokens / run.seconds[name]:,.0f}"
        faster = "" if is_ours else bold(times(run.faster), run.faster >= GPU_GOAL)
        cells = [bold(tokens, is_ours), times(1e3 * run.seconds[name], 1), faster, run.share(name, in_a_row)]
        rows.append([title, *cells, bold(f"{run.peaks[name]:,.0f}", is_ours)])
    header = ["", "target tokens/s", "ms an update", "ours is faster by", "of the matrix rate", "peak MiB"]
    return {
        "table": markdown_table(header, rows),
        "device": run.card[MATRIX][0]["device"].removesuffix(" HBM3"),
        "differences": " and ".join(percent((max(x) - min(x)) / statistics.median(x), 1) for x in run.rounds.values()),
        "in_a_row": f"{in_a_row / 1e12:.0f}",
        "in_turn": f"{in_turn / 1e12:.0f}",
        "shares_in_turn": " and ".join(run.share(name, in_turn) for name in GPU_CONTENDERS),
    }


def layers(folder):
    """All texts of the page about the layers of Table 1: {name: text}."""
    card = read_card(folder, "layer_complexity/layer_complexity")
    facts = card["facts"]
    fits = {entry["axis"]: entry for entry in card["exponents"] if entry["quantity"] == "forward_seconds"}
    sizes = {axis: sorted({entry[axis] for entry in card["curves"] if entry["varies"] == axis}) for axis in "nd"}
    return {
        "fixed_d": facts["width"],
        "fixed_n": facts["length"],
        **{f"from_{axis}": sizes[axis][-fits[axis]["points"]] for axis in "nd"},
        **{f"to_{axis}": f"{sizes[axis][-1]:,}" for axis in "nd"},
        "exponents_n": layer_tables.exponents_table(card["exponents"], "n"),
        "exponents_d": layer_tables.exponents_table(card["exponents"], "d"),
        "counts": layer_tables.counts_table(card["counts"], facts["counts_window"], facts["kernel"]),
        "counts_window": facts["counts_window"],
        "kernel": facts["kernel"],
        "compared": layer_tables.comparison_table(card["compared"], card["ratios"]),
        "length": f"{facts['compare_length']:,}",
        "width": facts["compare_width"],
        "window": facts["window"],
    }
