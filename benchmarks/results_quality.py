"""The numbers of translation quality and of parsing on the page of results."""

import json
import runpy
import statistics
from pathlib import Path

from results import markdown_table
from results_cards import bold, mean, read_card, read_cards, times

MULTI30K = {"tok": "tok (lower-cased, tokenized)", "raw": "raw (cased)"}
# The trials that chose a recipe, the words for their corpus, and the recipe that a trial became.
TRIALS = {
    "m10_small_v4_d3": ("Multi30k raw, the first 10,000", ""),
    "m10_tiny_v4_d3": ("the same", "pairs_10k"),
    "m29_small_v6_d3": ("Multi30k raw", "pairs_30k"),
    "t165_small_v8_d1": ("Tatoeba", "pairs_150k"),
}
PARSING_ROWS = {
    "error sentences": "Error sentences",
    "recall": "Bracketing recall",
    "precision": "Bracketing precision",
    "F1": "Bracketing F1",
    "complete match": "Complete match",
    "crossing brackets a sentence": "Average crossing",
    "tagging accuracy": "Tagging accuracy",
}
TABLE_3 = Path(__file__).parents[1] / "keras_transformer/presets/table_3.py"
PAPER_NOISE = 0.05  # a smaller difference of BLEU in the paper is none: it has one decimal


def multi30k(folder):
    """All texts of the page about Multi30k: {name: text}."""
    cards = {variant: read_card(folder, f"multi30k/{variant}") for variant in MULTI30K}
    rows = []
    for variant, title in MULTI30K.items():
        training, scores = cards[variant]["training"], cards[variant]["scores"]["test_2016"]
        lasted = f"about {training['minutes']} min"
        cells = [f"{training['epochs']}, {training['updates']:,}", lasted, times(training["best val_perplexity"])]
        rows.append([title, *cells, bold(times(scores["BLEU"])), times(scores["chrF"])])
    header = ["corpus", "epochs, updates", "training time", "validation perplexity", "BLEU", "chrF"]
    epochs = ["{} to {}".format(*card["training"]["seconds of an epoch"]) for card in cards.values()]
    return {
        "table": markdown_table(header, rows),
        "epoch_seconds": " and ".join(epochs),
        "clock": " and ".join(str(card["training"]["minutes by the clock"]) for card in cards.values()),
        **{f"signature_{name}": card["scores"]["test_2016"]["BLEU signature"] for name, card in cards.items()},
    }


def quickstart(folder):
    """All texts of the page about the quickstart: {name: text}."""
    card = read_card(folder, "quickstart/quickstart")
    right, of = card["exact match"]["right"], card["exact match"]["of"]
    return {
        "command": card["command"],
        "parameters": f"{card['model']['parameters']:,}",
        "seed": card["seed"],
        "minutes": card["training"]["minutes"],
        "whole": card["time of the command, with its installation"],
        "exact": f"{100 * right / of:.2f} %",
        "right": f"{right:,} of {of:,}",
        "bleu": times(card["scores"]["test"]["BLEU"]),
        "signature": card["scores"]["test"]["BLEU signature"],
    }


def recipes(folder):
    """All texts of the page about the trials of the recipes: {name: text}."""
    cards = {name: read_card(folder, f"recipes/{name}") for name in TRIALS}
    perplexities = {}  # of each corpus
    for card in cards.values():
        perplexities.setdefault(card["corpus"]["pairs"], []).append(card["training"]["best val_perplexity"])
    rows = []
    for name, (corpus, recipe) in TRIALS.items():
        card = cards[name]
        setting, training, pairs = json.loads(card["setting"]), card["training"], card["corpus"]["pairs"]
        scores = [card["scores"][f"valid, {which}"]["BLEU"] for which in ("best epoch", "average")]
        perplexity, others = training["best val_perplexity"], perplexities[pairs]
        rows.append(
            [
                *(corpus, f"{pairs:,}"),
                bold(f"`{card['model']['preset']}`, {setting['dropout']}", recipe),
                *(f"{setting[key]:,}" for key in ("vocabulary_size", "tokens_per_batch")),
                f"{setting['peak']}, {setting['warmup_steps']:,}",
                training["epochs"],
                bold(times(perplexity), recipe and len(others) > 1 and perplexity == min(others)),
                *(bold(times(score), recipe and score == max(scores)) for score in scores),
            ]
        )
    header = ["corpus", "pairs", "preset, dropout", "pieces", "tokens a batch", "peak, warm-up", "epochs"]
    header += ["validation perplexity", "validation BLEU, best epoch", "the mean of the last 3"]
    last, test = cards["t165_small_v8_d1"], read_card(folder, "recipes/tatoeba_test")
    [signature] = {s["BLEU signature"] for card in cards.values() for s in card["scores"].values()}
    names = [f"`{recipe}`" for _, recipe in TRIALS.values() if recipe]
    return {
        "table": markdown_table(header, rows),
        "names": f"{', '.join(names[:-1])} and {names[-1]}",
        "signature": signature,
        **{name: one_text(cards.values(), name) for name in ("seed", "machine")},
        "test_pairs": f"{test['pairs']:,}",
        "test_bleu": times(test["scores"]["test"]["BLEU"]),
        "test_chrf": times(test["scores"]["test"]["chrF"]),
        "test_signature": test["scores"]["test"]["chrF signature"],
        "test_minutes": test["training"]["minutes of processor time on one core"],
        "test_command": test["command"],
        "tokens": f"{last['training']['target tokens'] / 1e6:.1f}",
    }


def published(folder):
    """All texts of the page about the seeds of the recipe `multi30k_tiny`: {name: text}; {} without cards."""
    return seeds(folder, "published")


def seeds(folder, family):
    """The texts about trainings that differ only in the seed: {name: text}; {} without cards.

    The cards are `result.json` of `keras-transformer train`. The scores of test sets may be added to their "scores".
    """
    cards = sorted(read_cards(folder, family).values(), key=lambda card: card["seed"])
    if not cards:
        return {}
    scored = list(dict.fromkeys(name for card in cards for name in card["scores"]))
    columns = {
        "seed": lambda card: str(card["seed"]),
        "updates": lambda card: f"{card['training']['updates']:,}",
        "minutes": lambda card: f"{card['training']['seconds without validation'] / 60:.0f}",
        "validation perplexity": lambda card: times(card["training"]["best val_perplexity"]),
        **{f"BLEU: {name}": lambda card, name=name: times(card["scores"][name]["BLEU"]) for name in scored},
    }
    rows = [[write(card) for write in columns.values()] for card in cards]
    if len(cards) > 1:
        perplexities = [card["training"]["best val_perplexity"] for card in cards]
        bleus = [[card["scores"][name]["BLEU"] for card in cards] for name in scored]
        means = [mean(values) for values in (perplexities, *bleus)]
        rows.append(["mean ± standard deviation", "", "", *(bold(text) for text in means)])
    return {
        "table": markdown_table(columns, rows),
        "commands": "\n".join(card["command"] for card in cards),
        **{name: one_text(cards, name) for name in ("machine", "versions")},
        "signatures": ", ".join(f"`{each}`" for each in signatures(cards)),
    }


def one_text(cards, name):
    """A fact of several cards, which is mostly the same in all of them."""
    return "; ".join(dict.fromkeys(str(card[name]) for card in cards))


def signatures(cards):
    return dict.fromkeys(s["BLEU signature"] for card in cards for s in card["scores"].values())


def ablations(folder):
    """All texts of the page about Table 3 at a small scale: {name: text}; {} without cards.

    The cards are those of `examples/ablations.py`.
    """
    found = read_cards(folder, "ablations/cards").values()
    if not found:
        return {}
    paper = runpy.run_path(str(TABLE_3))["TABLE_3"]  # an import of the package would start TensorFlow
    results = {name: [card for card in found if card["row"] == name] for name in paper}
    bleus = {name: [card["bleu"] for card in cards] for name, cards in results.items() if cards}
    noise = max((max(values) - min(values) for values in bleus.values() if values[1:]), default=None)
    base, base_paper = bleus.get("paper_base"), paper["paper_base"]
    rows = []
    for name, values in bleus.items():
        cards, row = results[name], paper[name]
        smoothing = row.label_smoothing
        changes = row.changes | ({"label_smoothing": smoothing} if smoothing != base_paper.label_smoothing else {})
        is_compared = name != "paper_base"
        here = statistics.fmean(values) - statistics.fmean(base) if base else None
        rows.append(
            [
                name.removeprefix("paper_"),
                ", ".join(f"{key} {value}" for key, value in changes.items()),
                mean([card["perplexity"] for card in cards]),
                mean(values),
                ", ".join(str(card["seed"]) for card in cards),
                f"{cards[0]['parameters']:,}",
                times(statistics.fmean(card["minutes"] for card in cards), 1),
                times(row.perplexity),
                times(row.bleu, 1),
                direction(here, noise) if is_compared and base else "",
                direction(row.bleu - base_paper.bleu, PAPER_NOISE) if is_compared else "",
            ]
        )
    header = ["row", "change in the paper", "perplexity", "BLEU", "seeds", "parameters", "minutes"]
    header += ["paper: perplexity", "paper: BLEU", "against the base: here", "in the paper"]
    picture = Path(folder) / "ablations/table_3.png"
    facts = [card["facts"] for card in found]
    return {
        "table": markdown_table(header, rows),
        "noise": noise and times(noise),
        "picture": "![differences from the base model](results/ablations/table_3.png)" if picture.is_file() else "",
        "machine": one_text(facts, "machine"),
        "signatures": ", ".join(f"`{each}`" for each in signatures(facts)),
    }


def direction(difference, noise):
    """Whether a row is better or worse than the base model, by a difference of BLEU. `noise` is None if unknown."""
    if abs(difference) <= (noise or 0):
        return "same"
    return "better" if difference > 0 else "worse"


def parser(folder):
    """All texts of the page about the parser: {name: text}; {} without its card.

    The card is `scored/result.json` of `examples/parse_english.py`.
    """
    cards = read_cards(folder, "parsing")
    if not cards:
        return {}
    card = read_card(folder, "parsing/craft")
    rows = []
    for search, found in card["scores"]["dev"].items():
        short, every = found["at most 40 words"], found["all"]
        figures = (short["f1"], every["f1"], every["precision"], every["recall"], every["complete_match"])
        repaired, rate = found["outputs that needed repair"], found["sentences a second"]
        rows.append([search, bold(times(short["f1"])), *map(times, figures[1:]), str(repaired), f"{rate:.1f}"])
    header = ["search", "F1 ≤ 40 words", "F1 all", "precision", "recall", "complete", "repaired", "sentences a second"]
    trained = card["trained as"]
    runs = read_card(folder, "parsing/leaves")["runs"]
    columns = ["leaves", "epochs", "sentences", "scored by EVALB", "constrained f1", "complete"]
    keys = [*columns[:3], "scored", *columns[4:]]
    tried = [[*(str(run[key]) for key in keys), str(run.get("free outputs that needed repair", ""))] for run in runs]
    return {
        "table": markdown_table(header, rows),
        "leaves": markdown_table([*columns[:4], "their F1", "complete", "repaired if free"], tried),
        "sentences": f"{found['all']['sentences']:,}",
        "command": card["command"],
        "machine": card["machine"],
        "parameters": f"{trained['model']['parameters'] / 1e6:.1f}M",
        "updates": f"{trained['training']['updates']:,}",
        "epochs": trained["training"]["epochs"],
        "minutes": f"{trained['training']['seconds without validation'] / 60:.0f}",
        "perplexity": times(trained["training"]["best val_perplexity"]),
        "kept": trained["kept"],
    }


def parsing(folder):
    """All texts of the page about the yardstick of parsing: {name: text}."""
    card = read_card(folder, "parsing_baseline/parsing_baseline")
    other = read_card(folder, "parsing_baseline/horizontal_1")
    rows = []
    for title, name in PARSING_ROWS.items():
        without = card["scores_without_tags"][name].replace("no tags", "")
        rows.append([title, card["scores"][name], bold(without, title == "F1")])
    return {
        "table": markdown_table(["", "with tags", "without tags"], rows),
        "sentences": f"{card['sentences']:,}",
        "longest": card["settings"]["longest"],
        "rules": f"{card['rules']:,}",
        "without_tree": card["without_tree"],
        "speed": f"{card['sentences_per_second']:.0f}",
        "machine": card["provenance"]["machine"],
        "horizontal": other["settings"]["horizontal"],
        "horizontal_f1": other["scores"]["Bracketing F1"],
    }
