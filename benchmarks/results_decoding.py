"""The numbers of decoding and of bulk translation on the page of results."""

from results import markdown_table
from results_cards import Card, bold, by, percent, rate, read_card, span, times

SPEEDS = {"multi30k_tiny": "decode/tiny", "paper_base": "decode/base"}
INT8_SPEEDS = {"multi30k_tiny": "decode/tiny_int8", "paper_base": "decode/base_int8"}
CONTENDERS = {
    "ours": "ours",
    "ours bfloat16": "ours, bfloat16",
    "export": "exported",
    "ctranslate2": "CTranslate2",
    "ctranslate2 int8": "CTranslate2, int8",
    "huggingface": "transformers",
}
PRODUCTS = {"products": "products", "products bfloat16": "products, bfloat16"}
INT8_CONTENDERS = {
    "ours": "ours",
    "ours int8": "int8",
    "ours int8 bfloat16": "int8 and bfloat16",
    "ctranslate2": "CTranslate2",
    "ctranslate2 int8": "CTranslate2, int8",
}
# What is compared, by which contenders, and the goal.
GOALS = (
    ("multi30k_tiny, 64, 1", "multi30k_tiny", 64, 1, "ours", "ctranslate2", 3),
    ("multi30k_tiny, 64, 4", "multi30k_tiny", 64, 4, "ours", "ctranslate2", 2.5),
    ("paper_base, 64, 1", "paper_base", 64, 1, "ours", "ctranslate2", 2.3),
    ("paper_base, 64, 4", "paper_base", 64, 4, "ours", "ctranslate2", 1.5),
    ("paper_base, 64, 4, bfloat16 / its int8", "paper_base", 64, 4, "ours bfloat16", "ctranslate2 int8", 1.2),
    ("the same, int8 / int8 (below)", "paper_base", 64, 4, "ours int8", "ctranslate2 int8", 1.2),
    ("paper_base, 1, 4", "paper_base", 1, 4, "ours", "ctranslate2", 1.2),
    ("multi30k_tiny, 1, 4", "multi30k_tiny", 1, 4, "ours", "ctranslate2", 0.7),
)
TRANSFORMERS_GOAL = 4
# The title of a row, and the name in the card.
OPS = {
    "projections, feed-forward": "projections and feed-forward",
    "output map": "output map",
    "attention products": "attention products",
    "normalization": "normalisation",
    "softmax": "softmax",
    "caches, order of hypotheses": "caches and order of hypotheses",
    "the best tokens": "the best tokens",
    "shapes, constants, control flow": "shapes, constants and control flow",
    "everything else": "everything else",
}
PRODUCT_OPS = ("projections and feed-forward", "output map", "attention products")


class Speeds:
    """Sentences a second of all contenders of one run."""

    def __init__(self, folder, name):
        entries = read_card(folder, name)
        found = {(e["batch"], e["beam"], e["way"], e["contender"]): e["batch"] / e["seconds"] for e in entries}
        self.rates = Card(found, entries[0].path)
        self.cases = list(dict.fromkeys(key[:3] for key in found))

    def cells(self, case, contenders):
        """The cells of a row. A cell is empty where a contender has no such way."""
        found = [self.rates.get((*case, contender)) for contender in contenders]
        return ["" if value is None else rate(value) for value in found]

    def ratio(self, case, one, other, way=None):
        """How many times as fast `one` is as `other`, which decodes in its own `way` or in that of the case."""
        return self.rates[*case, one] / self.rates[*case[:2], way or case[2], other]

    def ratios(self, one, other, cases=None):
        return [self.ratio(case, one, other) for case in cases or self.cases]


def case_title(preset, case):
    batch, beam, way = case
    return f"{preset}, {batch}, {beam}" + (f", {way}" if batch > 1 else "")


def speed_table(runs, contenders, ratios):
    """The table of a run for each preset.

    Args:
        runs: {preset: `Speeds`}.
        contenders: {contender: title}.
        ratios: {title: (contender, the one it is compared with)}.
    """
    rows = []
    for preset, speeds in runs.items():
        for case in speeds.cases:
            compared = [times(speeds.ratio(case, *pair)) for pair in ratios.values()]
            rows.append([case_title(preset, case), *speeds.cells(case, contenders), *compared])
    return markdown_table(["model, batch, beam", *contenders.values(), *ratios], rows)


def goals_table(runs, int8_runs):
    rows = []
    for title, preset, batch, beam, one, other, goal in GOALS:
        speeds = (int8_runs if one == "ours int8" else runs)[preset]
        case = (batch, beam, "together")
        ways = ["together"] if batch == 1 else ["together", "apart"]
        ratios = [speeds.ratio((batch, beam, way), one, other, "together") for way in ways]
        cells = [bold(times(ratio), ratio >= goal) for ratio in ratios] + [""] * (2 - len(ways))
        products = one.replace("ours", "products")
        is_known = (*case, products) in speeds.rates
        rows.append([title, goal, *cells, times(speeds.ratio(case, products, other)) if is_known else ""])
    ours, products = (
        [ratio for speeds in runs.values() for ratio in speeds.ratios(one, "huggingface", together(speeds))]
        for one in ("ours", "products")
    )
    rows.append(["all, against transformers", TRANSFORMERS_GOAL, span(ours), "", span(products)])
    return markdown_table(["model, batch, beam", "goal", "together", "apart", "only products, together"], rows)


def together(speeds):
    return [case for case in speeds.cases if case[2] == "together"]


def speed_values(folder):
    runs, int8_runs = (
        {preset: Speeds(folder, name) for preset, name in names.items()} for names in (SPEEDS, INT8_SPEEDS)
    )
    tiny, base = runs.values()
    int8_base = int8_runs["paper_base"]
    ratios = {"ours / CTranslate2": ("ours", "ctranslate2"), "bfloat16 / int8": ("ours bfloat16", "ctranslate2 int8")}
    int8_ratios = {
        "int8 / ours": ("ours int8", "ours"),
        "int8 / its int8": ("ours int8", "ctranslate2 int8"),
        "int8 / CTranslate2": ("ours int8", "ctranslate2"),
    }
    shares = {
        f"share_{name}": span([100 / ratio for ratio in speeds.ratios("products", "ours")], 0)
        for name, speeds in (("base", base), ("tiny", tiny))
    }
    apart = [
        speeds.ratio(case, "ours", "ctranslate2")
        for speeds, left_out in ((tiny, 16), (base, None))
        for case in speeds.cases
        if case[2] == "apart" and case[0] != left_out
    ]
    case = (64, 4, "together")
    [goal] = [goal for title, *_, goal in GOALS if title == "paper_base, 64, 4"]
    in_products = base.ratio(case, "ours", "products")
    return {
        "speed": speed_table(runs, CONTENDERS | PRODUCTS, ratios),
        "goals": goals_table(runs, int8_runs),
        "int8": speed_table(int8_runs, INT8_CONTENDERS, int8_ratios),
        **shares,
        "tiny_transformers": span(tiny.ratios("ours", "huggingface", together(tiny))),
        "base_transformers": span(base.ratios("ours", "huggingface", together(base))),
        "base_products_transformers": span(base.ratios("products", "huggingface", together(base))),
        "base_int8_ours": span(int8_base.ratios("ours int8", "ours")),
        "base_int8_int8": span(int8_base.ratios("ours int8", "ctranslate2 int8"), 2),
        "random_apart": span(apart),
        "tiny_apart": times(tiny.ratio((64, 1, "apart"), "ours", "ctranslate2", "together"), 1),
        "rest_now": percent(1 - in_products),
        "rest_allowed": percent(base.ratio(case, "ours", "ctranslate2") / goal - in_products),
    }


def sentences_table(entries, contenders, scores=False):
    """The table of real sentences: a row for each beam and way, and with `scores` one for the BLEU of each beam."""
    found = by(entries, "beam", "way", "contender")
    beams = list(dict.fromkeys(entry["beam"] for entry in entries))
    rows = []
    for beam in beams:
        fastest = max(entry["sentences_per_second"] for entry in entries if entry["beam"] == beam)
        for way in ("together", "apart"):
            rates = [found.get((beam, way, contender), {}).get("sentences_per_second") for contender in contenders]
            cells = ["" if value is None else bold(f"{value:,.0f}", value == fastest) for value in rates]
            rows.append([f"{beam}, {way}", *cells])
    for beam in beams if scores else ():
        rows.append([f"BLEU, beam {beam}", *(times(found[beam, "together", each]["bleu"]) for each in contenders)])
    return markdown_table(["beam, way", *contenders.values()], rows)


def sentences_values(folder):
    entries, later = read_card(folder, "decode/trained"), read_card(folder, "decode/trained_int8")
    found, others = by(entries, "beam", "way", "contender"), by(later, "beam", "way", "contender")

    def same(beam, contender, among=found):
        return among[beam, "together", contender]["agreement"]["identical"]

    def apart(contender):
        return span(
            [
                found[beam, "apart", contender]["sentences_per_second"]
                / found[beam, "apart", "ctranslate2"]["sentences_per_second"]
                for beam in (1, 4)
            ],
            2 if contender == "ours" else 1,
        )

    of = found[1, "together", "ours"]["agreement"]["of"]
    titles = CONTENDERS | INT8_CONTENDERS | {"ours bfloat16": "bfloat16"}
    later_titles = {name: titles[name] for name in dict.fromkeys(entry["contender"] for entry in later)}
    return {
        "sentences": sentences_table(entries, CONTENDERS),
        "sentences_int8": sentences_table(later, later_titles, scores=True),
        "sentences_count": f"{of:,}",
        "same_1": same(1, "ours"),
        "same_4": "all of them" if same(4, "ours") == of else f"{same(4, 'ours')} of them",
        "sentences_ours": apart("ours"),
        "sentences_bfloat16": apart("ours bfloat16"),
        "changed_int8": of - same(4, "ours int8", others),
        "changed_ctranslate2": of - same(4, "ctranslate2 int8", others),
        "changed_bfloat16": of - same(4, "ours bfloat16", others),
    }


def batches_values(folder):
    """Real sentences in batches of several sizes."""
    entries = read_card(folder, "decode/trained_batches")
    found = by(entries, "batch", "beam", "way", "contender")
    rates = {setting: entry["sentences_per_second"] for setting, entry in found.items()}
    rows = []
    for setting in dict.fromkeys(key[:3] for key in found):
        ours, theirs = rates[*setting, "ours"], rates[*setting, "ctranslate2"]
        rows.append([", ".join(map(str, setting)), f"{ours:,.0f}", f"{theirs:,.0f}", times(ours / theirs)])

    def gain(contender, way):
        return span([rates[256, beam, way, contender] / rates[64, beam, way, contender] for beam in (1, 4)], 2)

    return {
        "batches": markdown_table(["batch, beam, way", "ours", "CTranslate2", "ours / CTranslate2"], rows),
        "batches_together": gain("ours", "together"),
        "batches_apart": gain("ours", "apart"),
        "batches_theirs": gain("ctranslate2", "apart"),
    }


def profile_values(folder):
    entries = by(read_card(folder, "decode/profile"), "preset", "beam")
    cases = {
        f"{name}, beam {beam}": entries[preset, beam]
        for preset, name in (("multi30k_tiny", "tiny"), ("paper_base", "base"))
        for beam in (1, 4)
    }
    rows = [
        [title, *(percent(case["groups"][name]["share"], 1) for case in cases.values())] for title, name in OPS.items()
    ]
    nodes = [sum(group["nodes_a_token"] for group in case["groups"].values()) for case in cases.values()]
    rows.append(["nodes a token", *(f"{count:,.0f}" for count in nodes)])
    floors = [percent(case["floor_seconds"] / case["seconds"]) for case in cases.values()]
    rows.append(["products with weights at the rate of this machine's large ones", *floors])
    base = [sum(entries["paper_base", beam]["groups"][name]["share"] for name in PRODUCT_OPS) for beam in (1, 4)]
    return {
        "profile": markdown_table(["share of the time", *cases], rows),
        "profile_base_products": f"{span([100 * share for share in base], 0)} %",
    }


def curve_values(folder):
    entries = [entry for entry in read_card(folder, "decode/curves") if entry["varies"] == "length"]
    steps = {entry["length"]: 1000 * entry["seconds"] / entry["length"] for entry in entries}
    return {
        "curve_lengths": span(steps, 0),
        "curve_ms": span(steps.values()),
        "curve_least": min(steps, key=steps.get),
        "curve_caches": f"{max(entry['cache_bytes'] for entry in entries) / 1e6:.0f}",
    }


def decoding(folder):
    """All texts of the page about decoding: {name: text}."""
    families = (speed_values, sentences_values, batches_values, profile_values, curve_values)
    return {name: text for family in families for name, text in family(folder).items()}


def exports(folder):
    """Exports in fewer bits: their size, memory and BLEU, and the speed of one that multiplies in integers."""
    entries = read_card(folder, "export_precision/export_precision")["results"]
    rows = [
        [
            name,
            f"{entry['bytes'] / 1e6:.1f}",
            f"{entry['memory'] / 2**20:,.0f}",
            times(entry["bleu"]),
            entry["different_translations"],
        ]
        for name, entry in entries.items()
    ]
    speeds = Speeds(folder, "decode/base_exports")
    return {
        "table": markdown_table(["weights", "MB", "memory, MiB", "BLEU", "other translations"], rows),
        "speed": speed_table(
            {"paper_base": speeds},
            {"export": "float32", "export int8": "int8"},
            {"int8 / float32": ("export int8", "export")},
        ),
        "memory": times(entries["int8, multiplied"]["memory"] / entries["float32"]["memory"]),
        "difference": f"{entries['int8, multiplied']['bleu_difference']:+.2f}",
    }


def bulk(folder):
    """All texts of the page about bulk translation: {name: text}."""
    card = read_card(folder, "bulk/bulk")
    runs = {workers: card[f"workers_{workers}"] for workers in (1, 2)}
    rows = [[workers, times(run["seconds"], 1), f"{run['sentences_a_second']:.0f}"] for workers, run in runs.items()]
    killed = card["killed"]
    if not killed["same_bytes"]:
        raise ValueError(f"{card.path} has other bytes after a kill, but the page says the same. Change the page.")
    return {
        "table": markdown_table(["workers", "seconds", "sentences a second"], rows),
        "sentences": f"{card['sentences']:,}",
        "gain": percent(runs[1]["seconds"] / runs[2]["seconds"] - 1),
        "parts": killed["parts_before"],
        "rows": killed["second_run"].partition(" ")[0],
    }
