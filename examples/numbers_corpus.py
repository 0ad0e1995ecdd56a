"""An English-German corpus made by code: numbers, ordinals, years, prices, dates and times, in words.

It needs no download and no license. num2words writes the numbers, Babel's CLDR has the names of days, months and
currencies, and a few carrier sentences hold them. Each English sentence has exactly one German translation, and each
German one exactly one English sentence. So exact match is a fair score:

    She has read one hundred and twenty-three pages.   Sie hat einhundertdreiundzwanzig Seiten gelesen.
    The meeting is on Monday, the first of May.        Das Treffen ist am Montag, dem ersten Mai.
    The train leaves at half past seven.               Der Zug fährt um halb acht ab.
"""

import datetime
import random
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

try:
    from babel.dates import get_day_names, get_month_names
    from babel.numbers import get_currency_name
    from num2words import num2words
except ImportError as error:
    raise SystemExit(
        f"this example needs Babel and num2words: pip install 'keras-transformer-translation[examples]'. ({error})"
    ) from error

from keras_transformer.files import written_beside

MAX_PAIRS = 1_000_000
FIRST_DAY, LAST_DAY = datetime.date(1950, 1, 1), datetime.date(2029, 12, 31)


class Carrier(NamedTuple):
    """A sentence with a gap, in both languages, and the function that draws the two phrases for the gap."""

    english: str
    german: str
    draw: Callable[[random.Random], tuple[str, str]]


def make_corpus(num_pairs=30_000, seed=0):
    """Return `num_pairs` different pairs of an English and a German sentence. The same seed gives the same list.

    Raises:
        ValueError: `num_pairs` is not between 1 and 1,000,000.
    """
    if not 1 <= num_pairs <= MAX_PAIRS:
        raise ValueError(f"num_pairs must be between 1 and {MAX_PAIRS:,}, got {num_pairs}.")
    rng = random.Random(seed)
    pairs = {}
    while len(pairs) < num_pairs:
        carrier = rng.choice(CARRIERS)
        english, german = carrier.draw(rng)
        pairs[carrier.english.format(english)] = carrier.german.format(german)
    return list(pairs.items())


def split(pairs):
    """Split pairs into three lists, train, valid and test, about 23 : 1 : 1.

    The phrase in the gap of the sentence decides ("the fourth of May", "twenty-one"). So all sentences with the same
    phrase are in the same list, and no phrase of the test set is trained. Phrases that do not consist of others
    ("seven", "third", "one o'clock") are always trained.
    """
    parts = train, valid, test = [], [], []
    for english, german in pairs:
        phrase = gap(english)
        simple = phrase.isalpha() or phrase.endswith("o'clock")
        part = 2 if simple else zlib.crc32(phrase.encode()) % 25
        parts[0 if part > 1 else part + 1].append((english, german))
    return train, valid, test


def write(folder, num_pairs=30_000, seed=0, overwrite=False):
    """Write `train.en`, `train.de`, `valid.en`, … `test.de` into `folder`, and return the folder as a Path.

    Raises:
        FileExistsError: one of the files exists and `overwrite` is False.
        ValueError: there are so few pairs that one of the three lists is empty.
    """
    folder = Path(folder)
    parts = dict(zip(("train", "valid", "test"), split(make_corpus(num_pairs, seed)), strict=True))
    for name, pairs in parts.items():
        if not pairs:
            raise ValueError(f"num_pairs={num_pairs} leaves no pair for {name}. Choose more.")
    for name, pairs in parts.items():
        for language, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            with written_beside(folder / f"{name}.{language}", overwrite) as path:
                path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def gap(english):
    """Return the phrase in the gap of a carrier sentence, or the whole sentence if it is only a number."""
    for start, end in CARRIER_ENDS:
        if english.startswith(start) and english.endswith(end):
            return english[len(start) : len(english) - len(end)]
    return english


@cache
def cardinal(number, language):
    """Write a number as words: 21 gives "twenty-one" or "einundzwanzig"."""
    words = num2words(number, lang=language)
    # num2words 0.5.14 writes 101,000 as "einhunderteinstausend". The s is wrong before "tausend".
    return words.replace("einstausend", "eintausend") if language == "de" else words


@cache
def ordinal(number, language, ending=""):
    """Write an ordinal as words. `ending` goes after the German -e: "ihr erster", "im ersten"."""
    return num2words(number, to="ordinal", lang=language) + ending


@cache
def year(number, language):
    """Write a year as one says it: 1984 gives "nineteen eighty-four" or "neunzehnhundertvierundachtzig"."""
    return num2words(number, to="year", lang=language)


def draw_number(rng, largest):
    """Draw from 1 to `largest`. Each number of digits is equally likely, so small numbers are common."""
    return rng.randint(1, min(largest, 10 ** rng.randint(1, len(str(largest)))))


def draw_cardinal(rng, largest=999_999):
    number = draw_number(rng, largest)
    return cardinal(number, "en"), cardinal(number, "de")


def draw_count(rng, largest=999_999):
    """Draw a number for the place before a plural. Not 1, 101, …: German has two words for 101 there."""
    number = 1
    while number % 100 == 1:
        number = draw_number(rng, largest)
    return cardinal(number, "en"), cardinal(number, "de")


def draw_ordinal(rng, largest, ending):
    number = draw_number(rng, largest)
    return ordinal(number, "en"), ordinal(number, "de", ending)


def draw_year(rng):
    number = rng.randint(1100, 2099)
    return year(number, "en"), year(number, "de")


def draw_price(rng):
    currency = rng.choice(("EUR", "EUR", "USD", "CHF"))
    amount = [
        f"{words} {get_currency_name(currency, 2, locale=language)}"
        for words, language in zip(draw_count(rng, 99_999), ("en", "de"), strict=True)
    ]
    if currency != "EUR" or rng.random() < 0.5:
        return tuple(amount)
    cents = rng.randint(2, 99)
    return f"{amount[0]} and {cardinal(cents, 'en')} cents", f"{amount[1]} und {cardinal(cents, 'de')} Cent"


def draw_date(rng, ending, article=None, with_year=None):
    """Draw a day between 1950 and 2029.

    `article` and `ending` are those of the German case: "der" and "", or "dem" and "n". A date without an article has
    no weekday. Half of the dates have a year if `with_year` is None.
    """
    day = FIRST_DAY + datetime.timedelta(days=rng.randint(0, (LAST_DAY - FIRST_DAY).days))
    month = {language: get_month_names("wide", locale=language)[day.month] for language in ("en", "de")}
    english = f"the {ordinal(day.day, 'en')} of {month['en']}"
    german = f"{ordinal(day.day, 'de', ending)} {month['de']}"
    if article:
        name = {language: get_day_names("wide", locale=language)[day.weekday()] for language in ("en", "de")}
        english, german = f"{name['en']}, {english}", f"{name['de']}, {article} {german}"
    if with_year or (with_year is None and rng.random() < 0.5):
        english, german = f"{english}, {year(day.year, 'en')}", f"{german} {year(day.year, 'de')}"
    return english, german


def draw_time(rng):
    """Draw a time on a clock of twelve hours. German calls half past six "halb sieben", by the next hour."""
    hour, minute = rng.randint(1, 12), rng.choice((0, 15, 30, 45) * 5 + tuple(range(60)))  # quarters are frequent
    if minute == 0:
        return f"{cardinal(hour, 'en')} o'clock", f"{'ein' if hour == 1 else cardinal(hour, 'de')} Uhr"
    coming = hour % 12 + 1
    if minute == 30:
        return f"half past {cardinal(hour, 'en')}", f"halb {cardinal(coming, 'de')}"
    named, past, nach, distance = (hour, "past", "nach", minute) if minute < 30 else (coming, "to", "vor", 60 - minute)
    if distance == 15:
        minutes = "a quarter", "Viertel"
    elif distance == 1:
        minutes = "one minute", "eine Minute"
    else:
        minutes = f"{cardinal(distance, 'en')} minutes", f"{cardinal(distance, 'de')} Minuten"
    return f"{minutes[0]} {past} {cardinal(named, 'en')}", f"{minutes[1]} {nach} {cardinal(named, 'de')}"


def draw_weekday_and_time(rng):
    day, (english, german) = rng.randrange(7), draw_time(rng)
    names = [get_day_names("wide", locale=language)[day] for language in ("en", "de")]
    return f"{names[0]} at {english}", f"{names[1]} um {german}"


CARRIERS = (
    Carrier("{}", "{}", draw_cardinal),
    Carrier("The winning number is {}.", "Die Gewinnzahl ist {}.", draw_cardinal),
    Carrier("He is waiting in room {}.", "Er wartet in Zimmer {}.", partial(draw_cardinal, largest=9_999)),
    Carrier("The city has {} inhabitants.", "Die Stadt hat {} Einwohner.", draw_count),
    Carrier("She has read {} pages.", "Sie hat {} Seiten gelesen.", draw_count),
    Carrier("They want to sell {} books.", "Sie wollen {} Bücher verkaufen.", draw_count),
    Carrier("This is the {} attempt.", "Das ist der {} Versuch.", partial(draw_ordinal, largest=999, ending="")),
    Carrier("Today is her {} birthday.", "Heute ist ihr {} Geburtstag.", partial(draw_ordinal, largest=99, ending="r")),
    Carrier("She lives on the {} floor.", "Sie wohnt im {} Stock.", partial(draw_ordinal, largest=99, ending="n")),
    Carrier("It happened in {}.", "Es geschah im Jahr {}.", draw_year),
    Carrier("The house was built in {}.", "Das Haus wurde im Jahr {} gebaut.", draw_year),
    Carrier("The ticket costs {}.", "Die Karte kostet {}.", draw_price),
    Carrier("We paid {} for it.", "Wir haben dafür {} bezahlt.", draw_price),
    Carrier("Today is {}.", "Heute ist {}.", partial(draw_date, ending="", article="der")),
    Carrier("The meeting is on {}.", "Das Treffen ist am {}.", partial(draw_date, ending="n", article="dem")),
    Carrier("The shop closes on {}.", "Das Geschäft schließt am {}.", partial(draw_date, ending="n")),
    Carrier("She was born on {}.", "Sie wurde am {} geboren.", partial(draw_date, ending="n", with_year=True)),
    Carrier("It is {}.", "Es ist {}.", draw_time),
    Carrier("She was woken at {}.", "Sie wurde um {} geweckt.", draw_time),
    Carrier("The train leaves on {}.", "Der Zug fährt am {} ab.", draw_weekday_and_time),
    Carrier("The train leaves at {}.", "Der Zug fährt um {} ab.", draw_time),
)
# The longest start is first: "Today is her {} birthday." before "Today is {}."
CARRIER_ENDS = sorted((tuple(carrier.english.split("{}")) for carrier in CARRIERS), key=lambda ends: -len(ends[0]))
