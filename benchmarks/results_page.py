"""RESULTS.md from the result cards: no number of a table is typed by hand.

    python benchmarks/results_page.py
    python benchmarks/results_page.py --check

The cards are the JSON files in `results/`, as the benchmarks, `keras-transformer train` and `examples/ablations.py`
write them. `results/page.md` is the page without its numbers: a place such as {{ bulk.table }} is filled with the text
that a function gives under this name. For another family of cards, write such a function, add it to `FAMILIES`, and
give its texts a place. `--check` writes nothing, and ends with 1 if the page is another one. Where a card is missing or
lacks a number, the script names it, writes nothing and ends with 2.
"""

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from results import write_text
from results_cards import RESULTS
from results_decoding import bulk, decoding, exports
from results_quality import ablations, multi30k, parser, parsing, published, quickstart, recipes
from results_students import shortlist, students
from results_training import gpu, layers, training

PAGE, TEMPLATE = RESULTS.parent / "RESULTS.md", "page.md"
# Each returns {name: text}. A family whose section is left out while it has no cards returns {}.
FAMILIES = (
    multi30k,
    published,
    quickstart,
    recipes,
    ablations,
    decoding,
    exports,
    students,
    shortlist,
    training,
    gpu,
    layers,
    bulk,
    parser,
    parsing,
)


def texts(folder=RESULTS):
    """Return {family: {name: text}} of the cards in a folder.

    Raises:
        FileNotFoundError: a card is missing.
        ValueError: a card is no JSON, or lacks what the page shows.
    """
    return {family.__name__: family(folder) for family in FAMILIES}


def render(folder=RESULTS):
    """Return the page, from the template and the cards in a folder.

    Raises:
        FileNotFoundError, ValueError: as `texts`; also a place of the template that no function fills.
    """
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True, "autoescape": False}
    environment = Environment(loader=FileSystemLoader(folder), **options)
    try:
        return environment.get_template(TEMPLATE).render(texts(folder))
    except UndefinedError as error:
        raise ValueError(f"{Path(folder) / TEMPLATE} has a place that no function fills: {error}.") from error


def main(
    check: Annotated[bool, typer.Option("--check", help="Only compare the page with the cards.")] = False,
):
    """Write RESULTS.md, or compare it with the cards."""
    try:
        page = render()
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    if not check:
        write_text(PAGE, page)
        return
    written = PAGE.read_text(encoding="utf-8")
    if written != f"{page}\n":
        lines = difflib.unified_diff(written.splitlines(), page.splitlines(), PAGE.name, "the cards", lineterm="", n=0)
        print("\n".join(lines))
        print(f"{PAGE} differs from the cards. Run: python benchmarks/results_page.py", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
