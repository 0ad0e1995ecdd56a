"""Several sentences in one text: found, translated one by one on request, and never lost without a word."""

import json
import logging

import pytest
import tiny

from keras_transformer import Translator
from keras_transformer.inputs.kinds import SentenceError
from keras_transformer.translation.sentences import join_sentences, split_sentences, translated_by_sentence
from keras_transformer.translation.whole_file import work_of


@pytest.mark.parametrize(
    "sentences",
    [
        ["A man rides a horse.", "He waves."],
        ["Is it late?", "Yes!", "Go home…", "Now."],
        ['He said: "Come in."', '"No," she said.'],
        ["Das Haus ist groß.", "Über ihm fliegt ein Vogel."],
        ["Où es-tu ?", "À Paris."],
        ["Он ушёл.", "Она осталась."],
        ["今日は暑い。", "水を飲む！", "「はい。」", "Ja."],
        ["It costs $5.", "2 of them cost $10."],
        ["¿Dónde está?", "¡Aquí!"],
        ["See (the red one).", "[It is new.]"],
        ["One", "Two"][:1],
        ["No end here, Dr. Smith of the U.S. Army met J. R. Brown at 3.5 m."],
        ["Am 3. Mai kommt Hr. Meier, z. B. mit dem Zug."],
        ["M. Dupont habite au no. 5, p. ex. ici"],
        ["It ends... but goes on, i.e. it continues, etc. and so on!?"],
        [""],
        ["  a  "],
        ["A. \u200b"],
    ],
)
def test_sentences_are_found(sentences):
    text = " ".join(sentences)
    assert split_sentences(text) == sentences
    assert split_sentences("\t \n".join(sentences)) == sentences
    if "。" in sentences[0]:
        assert split_sentences("".join(sentences)) == sentences


def test_translations_are_joined():
    assert join_sentences(["A.", "", "B."]) == "A. B."
    assert join_sentences(["今日は。", "水！", "Ja."]) == "今日は。水！Ja."
    assert join_sentences([""]) == ""


def test_a_target_language_counts_for_each_sentence_and_errors_name_the_text():
    asked = []

    def translate(sentences):
        asked.extend(sentences)
        if "Bad." in sentences[-1]:
            raise SentenceError(len(sentences) - 1, "is bad")
        return [sentence.upper() for sentence in sentences]

    assert translated_by_sentence(translate, [">>fra<< A bed. C dog.", "E."]) == [">>FRA<< A BED. >>FRA<< C DOG.", "E."]
    assert asked == [">>fra<< A bed.", ">>fra<< C dog.", "E."]
    with pytest.raises(SentenceError, match=r"^sentence 1 is bad$"):
        translated_by_sentence(translate, ["A. B.", "C. Bad."])


class Parrot(Translator):
    """Its search gives the first sentence of each text in capitals."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        search = self._searcher.search

        def repeated(texts, *more):
            found = search(texts, *more)
            firsts = [split_sentences(text)[0].upper() for text in texts]
            return [[type(best)(first, *[0, 0, True])] for first, [best] in zip(firsts, found, strict=True)]

        self._searcher.search = repeated


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    return Parrot(tiny.make_opinionated(), tiny.make_tokenizer(tmp_path_factory.mktemp("t")), 1, max_extra_length=1)


TEXTS = ["One two. Three!", "Four", "", "Five? Six. Seven."]
WARNING = (
    "2 of 4 texts have more sentences than their translation: a model that was trained on single sentences translates "
    "only the first. Pass split_sentences=True to translate each sentence by itself. One of these texts: "
    "'One two. Three!'"
)


def test_lost_sentences_get_a_warning(parrot, caplog):
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        assert parrot(TEXTS[1:3]) == ["FOUR", ""]
        assert caplog.records == []
        assert parrot(TEXTS) == ["ONE TWO.", "FOUR", "", "FIVE?"]
    assert [record.getMessage() for record in caplog.records] == [WARNING]


def test_split_sentences_are_all_translated(parrot, tmp_path, caplog):
    expected = ["ONE TWO. THREE!", "FOUR", "", "FIVE? SIX. SEVEN."]
    with caplog.at_level(logging.WARNING, "keras_transformer"):
        assert parrot(TEXTS, split_sentences=True) == expected
        (tmp_path / "a").write_text("".join(f"{text}\n" for text in TEXTS))
        parrot.translate_file(tmp_path / "a", tmp_path / "b", window=3, split_sentences=True)
    assert (tmp_path / "b").read_text().splitlines() == expected
    assert caplog.records == []
    with pytest.raises(ValueError, match=r"prefixes and split_sentences=True cannot go together"):
        parrot(TEXTS, prefixes=["1"] * 4, split_sentences=True)


@pytest.mark.parametrize("first", [True, False])
def test_unfinished_work_belongs_to_its_way_of_splitting(parrot, tmp_path, first):
    (tmp_path / "a").write_text("".join(f"{text}\n" for text in TEXTS))
    (tmp_path / "b.part").write_text("ONE\n")
    work = work_of(parrot, tmp_path / "a", tmp_path / "a", first)
    (tmp_path / "b.part.json").write_text(json.dumps(work))
    with pytest.raises(ValueError, match=r"another kind: split_sentences was (True|None) and is (True|None)"):
        parrot.translate_file(tmp_path / "a", tmp_path / "b", split_sentences=not first)
