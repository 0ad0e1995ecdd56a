"""The numbers of students and of shortlists on the page of results."""

from pathlib import Path

import shortlist_bleu
import student_bounds
from results import markdown_table
from results_cards import by, read_card, times
from shortlist import table as shortlist_table


def students(folder):
    """All texts of the page about students: {name: text}; {} without the card of `students.py`.

    `student` and `control` beside it are the cards of their trainings.
    """
    if not (Path(folder) / "students/students.json").is_file():
        return {}
    entries = read_card(folder, "students/students")
    trainings = {name: read_card(folder, f"students/{name}") for name in ("student", "control")}
    found = by(entries, "model", "engine", "beam")
    yardsticks = [found["teacher", engine, 4]["sentences_per_second"] for engine in ("ours int8", "ctranslate2 int8")]
    rows = []
    for (model, engine, beam), entry in found.items():
        rate = entry["sentences_per_second"]
        ratios = [times(rate / yardstick) for yardstick in yardsticks]
        rows.append([model, engine, str(beam), f"{rate:,.0f}", entry["way"], *ratios, times(entry["bleu"])])
    header = ["model", "engine", "beam", "sentences/s", "way", "/ the teacher, ours int8", "/ CTranslate2 int8"]
    bleus = {
        name: [scores["BLEU"] for scores in card["scores"].values()]
        for name, card in {**trainings, "teacher": read_card(folder, "recipes/m29_small_v6_d3")}.items()
    }
    student = found["student", "ours int8", 1]["sentences_per_second"]
    return {
        "table": markdown_table([*header, "BLEU"], rows),
        "commands": "\n".join(card["command"] for card in trainings.values()),
        "machine": trainings["student"]["machine"],
        **{f"{name}_updates": f"{card['training']['updates']:,}" for name, card in trainings.items()},
        "speedup": times(student / yardsticks[0]),
        "control_lead": times(bleus["control"][0] - bleus["student"][0]),
        **{f"{name}_bleu": " and ".join(map(times, values)) for name, values in bleus.items()},
    }


def shortlist(folder):
    """All texts of the page about shortlists: {name: text}; {} without the cards of `shortlist.py` and its bounds."""
    if not (Path(folder) / "students/shortlist.json").is_file():
        return {}
    bleus = read_card(folder, "students/shortlist_bleu")
    return {
        "bounds": student_bounds.table(read_card(folder, "students/student_bounds")),
        "speed": shortlist_table(read_card(folder, "students/shortlist")),
        "bleu": shortlist_bleu.table(bleus),
        "cost": times(max(round(bleu["without"], 2) - round(bleu["with"], 2) for bleu in (e["bleu"] for e in bleus))),
    }
