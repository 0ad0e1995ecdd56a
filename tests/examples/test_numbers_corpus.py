"""The corpus of numbers: its words by the rules of both languages, and its split."""

import random
import re
from zlib import crc32

import numbers_corpus
import pytest
from numbers_corpus import CARRIERS, cardinal, gap, make_corpus, ordinal, split, write, year

GERMAN = (
    " ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
).split(" ")
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
ENGLISH = (
    " one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split(" ")
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


@pytest.fixture(scope="module")
def corpus():
    return make_corpus()


def german_by_hand(number):
    """A German number by the rules of the language, without num2words. A final "ein" has no s."""
    if number >= 1000:
        return german_by_hand(number // 1000) + "tausend" + german_by_hand(number % 1000)
    if number >= 100:
        return GERMAN[number // 100] + "hundert" + german_by_hand(number % 100)
    if number < 20:
        return GERMAN[number]
    return (GERMAN[number % 10] + "und" if number % 10 else "") + GERMAN_TENS[number // 10 - 2]


def english_by_hand(number):
    if number >= 1000:
        rest = number % 1000
        joint = ", " if rest >= 100 else " and " if rest else ""
        return f"{english_by_hand(number // 1000)} thousand{joint}{english_by_hand(rest)}"
    if number >= 100:
        return f"{ENGLISH[number // 100]} hundred{' and ' if number % 100 else ''}{english_by_hand(number % 100)}"
    if number < 20:
        return ENGLISH[number]
    return ENGLISH_TENS[number // 10 - 2] + (f"-{ENGLISH[number % 10]}" if number % 10 else "")


def test_cardinals_follow_the_rules_of_both_languages():
    numbers = [*range(1, 1200), *range(99_990, 102_010), 200_001, 999_999, *random.Random(3).sample(range(10**6), 500)]
    for number in numbers:
        assert cardinal(number, "en") == english_by_hand(number)
        assert cardinal(number, "de") == german_by_hand(number) + ("s" if number % 100 == 1 else "")


def test_ordinals_follow_the_rules_of_german():
    irregular = {1: "erste", 3: "dritte", 7: "siebte", 8: "achte"}
    for number in range(1, 1000):
        last = number % 100
        hundreds = german_by_hand(number - last)
        if last in irregular:
            expected = hundreds + irregular[last]
        else:
            expected = german_by_hand(number) + ("te" if 0 < last < 20 else "ste")
        assert ordinal(number, "de") in (expected, expected.removeprefix("ein")), number  # hundertste, einhundertste


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (1100, "eleven hundred", "elfhundert"),
        (1666, "sixteen sixty-six", "sechzehnhundertsechsundsechzig"),
        (1905, "nineteen oh-five", "neunzehnhundertfünf"),
        (1984, "nineteen eighty-four", "neunzehnhundertvierundachtzig"),
        (2000, "two thousand", "zweitausend"),
        (2007, "two thousand and seven", "zweitausendsieben"),
        (2024, "twenty twenty-four", "zweitausendvierundzwanzig"),
    ],
)
def test_years(number, english, german):
    assert (year(number, "en"), year(number, "de")) == (english, german)


class Scripted:
    """A random number generator that gives the numbers of a list."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def next_number(self, *limits):
        return self.numbers.pop(0)

    randint = randrange = choice = next_number

    def random(self):
        return self.numbers.pop(0)


def days_from_start(year, month, day):
    return (numbers_corpus.datetime.date(year, month, day) - numbers_corpus.FIRST_DAY).days


BELOW, ABOVE = 0.1, 0.9  # one half


@pytest.mark.parametrize(
    ("start", "drawn", "english", "german"),
    [
        ("{}", [6, 345_687], "three hundred and forty-five thousand, six hundred and eighty-seven",
         "dreihundertfünfundvierzigtausendsechshundertsiebenundachtzig"),
        ("He is", [1, 1], "He is waiting in room one.", "Er wartet in Zimmer eins."),
        ("The city", [3, 201, 6, 21_000], "The city has twenty-one thousand inhabitants.",
         "Die Stadt hat einundzwanzigtausend Einwohner."),
        ("She has", [3, 123], "She has read one hundred and twenty-three pages.",
         "Sie hat einhundertdreiundzwanzig Seiten gelesen."),
        ("This is", [1, 3], "This is the third attempt.", "Das ist der dritte Versuch."),
        ("Today is her", [2, 31], "Today is her thirty-first birthday.", "Heute ist ihr einunddreißigster Geburtstag."),
        ("She lives", [1, 7], "She lives on the seventh floor.", "Sie wohnt im siebten Stock."),
        ("The house", [1871], "The house was built in eighteen seventy-one.",
         "Das Haus wurde im Jahr achtzehnhunderteinundsiebzig gebaut."),
        ("The ticket", ["EUR", 2, 21, BELOW], "The ticket costs twenty-one euros.",
         "Die Karte kostet einundzwanzig Euro."),
        ("The ticket", ["EUR", 1, 3, ABOVE, 50], "The ticket costs three euros and fifty cents.",
         "Die Karte kostet drei Euro und fünfzig Cent."),
        ("We paid", ["CHF", 2, 40], "We paid forty Swiss francs for it.",
         "Wir haben dafür vierzig Schweizer Franken bezahlt."),
        ("We paid", ["USD", 1, 5], "We paid five US dollars for it.", "Wir haben dafür fünf US-Dollar bezahlt."),
        ("Today is {}", [days_from_start(1984, 3, 21), BELOW],
         "Today is Wednesday, the twenty-first of March, nineteen eighty-four.",
         "Heute ist Mittwoch, der einundzwanzigste März neunzehnhundertvierundachtzig."),
        ("The meeting", [days_from_start(1984, 3, 21), ABOVE],
         "The meeting is on Wednesday, the twenty-first of March.",
         "Das Treffen ist am Mittwoch, dem einundzwanzigsten März."),
        ("The shop", [days_from_start(2029, 12, 31), ABOVE], "The shop closes on the thirty-first of December.",
         "Das Geschäft schließt am einunddreißigsten Dezember."),
        ("She was born", [days_from_start(2000, 2, 29)], "She was born on the twenty-ninth of February, two thousand.",
         "Sie wurde am neunundzwanzigsten Februar zweitausend geboren."),
        ("It is", [1, 0], "It is one o'clock.", "Es ist ein Uhr."),
        ("It is", [12, 30], "It is half past twelve.", "Es ist halb eins."),
        ("It is", [7, 1], "It is one minute past seven.", "Es ist eine Minute nach sieben."),
        ("The train leaves at", [7, 15], "The train leaves at a quarter past seven.",
         "Der Zug fährt um Viertel nach sieben ab."),
        ("The train leaves at", [11, 40], "The train leaves at twenty minutes to twelve.",
         "Der Zug fährt um zwanzig Minuten vor zwölf ab."),
        ("The train leaves on", [5, 9, 0], "The train leaves on Saturday at nine o'clock.",
         "Der Zug fährt am Samstag um neun Uhr ab."),
    ],
)  # fmt: skip
def test_sentences_by_hand(start, drawn, english, german):
    carrier = next(carrier for carrier in CARRIERS if carrier.english.startswith(start))
    rng = Scripted(*drawn)
    phrases = carrier.draw(rng)
    assert rng.numbers == []
    assert (carrier.english.format(phrases[0]), carrier.german.format(phrases[1])) == (english, german)
    assert gap(english) == phrases[0]


def test_corpus_repeats_with_its_seed(corpus):
    assert corpus == make_corpus(30_000, seed=0)
    assert len(corpus) == 30_000
    assert make_corpus(100, seed=1) != corpus[:100] == make_corpus(100)


def test_each_sentence_has_one_translation_in_both_directions(corpus):
    both = corpus + make_corpus(30_000, seed=1)
    assert len({english for english, _ in both}) == len({german for _, german in both}) == len(set(both)) > 50_000


def test_every_carrier_is_used_and_recognized(corpus):
    used = {english.replace(gap(english), "{}") for english, _ in corpus}
    assert used == {carrier.english for carrier in CARRIERS}


def test_no_phrase_is_both_trained_and_tested(corpus):
    train, valid, test = split(corpus)
    assert sorted(train + valid + test) == sorted(corpus)
    trained, validated, tested = ({gap(english) for english, _ in part} for part in (train, valid, test))
    assert not trained & validated and not trained & tested and not validated & tested
    for side in (0, 1):
        assert not {pair[side] for pair in train} & {pair[side] for pair in valid + test}
    assert 900 < len(valid) < 1500 and 900 < len(test) < 1500


def test_every_tested_english_word_is_trained(corpus):
    train, valid, test = split(corpus)
    words = set(re.findall(r"\w+", " ".join(english for english, _ in train)))
    held_out = set(re.findall(r"\w+", " ".join(english for english, _ in valid + test)))
    assert len(held_out) > 100 and held_out <= words


def test_phrases_that_do_not_consist_of_others_are_always_trained():
    for phrase in ("fifteen", "tenth", "eight o'clock"):
        assert crc32(phrase.encode()) % 25 < 2  # only by its hash, it would be held out
    pairs = [("fifteen", ""), ("This is the tenth attempt.", ""), ("It is eight o'clock.", "")]
    assert split(pairs) == (pairs, [], [])


def test_write(tmp_path):
    folder = write(tmp_path / "numbers", num_pairs=500, seed=4)
    names = ["test.de", "test.en", "train.de", "train.en", "valid.de", "valid.en"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name, pairs in zip(("train", "valid", "test"), split(make_corpus(500, seed=4)), strict=True):
        for side, language in enumerate(("en", "de")):
            text = (folder / f"{name}.{language}").read_bytes().decode("utf-8")
            assert text == "".join(pair[side] + "\n" for pair in pairs)
    with pytest.raises(FileExistsError, match=r"train\.en exists already"):
        write(folder, num_pairs=100)
    write(folder, num_pairs=100, overwrite=True)
    assert len((folder / "train.en").read_text(encoding="utf-8").splitlines()) < 101


def test_a_corpus_without_a_pair_to_test_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_pairs=3 leaves no pair for "):
        write(tmp_path / "numbers", num_pairs=3)
    assert not (tmp_path / "numbers").exists()


@pytest.mark.parametrize("num_pairs", [0, -1, 1_000_001])
def test_impossible_sizes_are_refused(num_pairs):
    with pytest.raises(ValueError, match=f"num_pairs must be between 1 and 1,000,000, got {num_pairs}"):
        make_corpus(num_pairs)
