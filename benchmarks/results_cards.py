"""Read result cards, and write their numbers in the style of the page."""

import json
import statistics
from functools import partial
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ADVICE = "Run its script again, or take the place out of benchmarks/results/page.md."


class Card(dict):
    """An object of a card. If it lacks a key, the error names the file."""

    def __init__(self, entries, path):
        super().__init__(entries)
        self.path = path

    def __missing__(self, key):
        shown = ", ".join(map(str, key)) if isinstance(key, tuple) else key
        raise ValueError(f"{self.path} has no entry {shown!r}, which the page shows. {ADVICE}")


def read_card(folder, name):
    """Return the content of a card: a `Card`, or a list of them.

    Args:
        folder: the folder of all results.
        name: the card's path there, without ".json".

    Raises:
        FileNotFoundError: there is no such card.
        ValueError: the file is no JSON, or it is empty.
    """
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, a card that the page shows, does not exist. {ADVICE}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=partial(Card, path=path))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}. {ADVICE}") from error
    if not content:
        raise ValueError(f"{path} is an empty card. {ADVICE}")
    return content


def read_cards(folder, family):
    """Return {name without ".json": card} of all cards in a subfolder; {} if there are none."""
    names = sorted(path.stem for path in (Path(folder) / family).glob("*.json"))
    return {name: read_card(folder, f"{family}/{name}") for name in names}


def by(entries, *names):
    """Return {values of `names`: entry} of the entries of a card."""
    return Card({tuple(entry[name] for name in names): entry for entry in entries}, entries[0].path)


def rate(value):
    """Three digits or more: 2.6, 38.1, 472, 1,035."""
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def times(value, digits=2):
    return f"{value:.{digits}f}"


def percent(value, digits=0):
    return f"{100 * value:.{digits}f} %"


def span(values, digits=1):
    """The smallest and the largest value: "2.2 to 5.4", or "2.2" where these are written alike."""
    ends = [f"{end:.{digits}f}" for end in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def mean(values, digits=2):
    """The mean and the standard deviation of a sample: "41.10 ± 0.12". One value has no deviation."""
    text = f"{statistics.fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"


def bold(text, really=True):
    return f"**{text}**" if really else text
