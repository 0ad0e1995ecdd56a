"""Compares each signature of an export, loaded as a server loads it, with the translator in this process."""

import shutil
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tiny
from exported import ask_a_clean_process

from keras_transformer import Translator
from keras_transformer.export.finish import facts_of
from keras_transformer.export.graph.module import source_limit
from keras_transformer.export.graph.requests import count_pieces, cut_to_valid_utf8, end_rows
from keras_transformer.ids import END
from keras_transformer.inputs.blank import is_blank

LIMIT = 8  # tokens of a source: seven digits and END
SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7", " \u200b", "</s>"]
TRANSLATIONS = ["4", "5 1", "", "", "7 7 7 1", "9", "</s>"]
LONG, CUT = "1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7"
HOSTILE = ["\udcff", "\0\x01 4", "7" * 300_000, "é" * 300_000, "\udcf0\udc9f", "\u202e\u0301🙂\ufeff\uffff"]
IN_PROCESS = [*SENTENCES, CUT, "\N{REPLACEMENT CHARACTER}", HOSTILE[1]]
# One process loads the first export as a server does, and twice eagerly.
LOADED = [("plain", "session"), ("plain", "eager"), ("plain", "again"), ("ensemble", "session")]
NAMES = ("serving_default", "n_best", "score", "ids", "align")
EMPTY = {"score": {"sentences": [], "translations": []}, "ids": {"source_ids": []}}


def make(folder):
    """Two translators with one tokenizer: one with a single model, and an ensemble of two with many options.

    The last model has a window.
    """
    tokenizer = tiny.make_tokenizer(folder / "corpus", "bpe")
    size, windows = tokenizer.vocabulary_size, (None, None, 3)
    models = [tiny.make_opinionated(seed, vocabulary_size=size, window=r) for seed, r in enumerate(windows)]
    options = {"length_normalization": "power", "min_length": 3, "no_repeat_ngram": 2, "suppress": ["unk", "▁9"]}
    return {
        "plain": Translator(models[0], tokenizer, beam_size=2, max_extra_length=4),
        "ensemble": Translator(models[1:], tokenizer, 3, max_extra_length=4, coverage_penalty=0.2, **options),
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{name: (translator, expected, answers)}.

    `expected` is {sentence: its hypotheses in this process}. `answers` is a function of loader, signature and inputs.
    """
    folder = tmp_path_factory.mktemp("exports")
    translators, expected, requests = make(folder), {}, []
    for name, translator in translators.items():
        expected[name] = dict(zip(IN_PROCESS, translator.n_best(IN_PROCESS), strict=True))
        translator.export(folder / name / "1", max_source_length=LIMIT, check=False)
        shutil.move(folder / name / "1", folder / f"moved_{name}")
        shutil.rmtree(folder / name)
        requests += [(name, *request) for request in requests_to(translator, expected[name])]
    batch = {"sentences": SENTENCES}
    requests += [(name, loader, "serving_default", batch) for name, loader in LOADED if loader != "session"]
    asked = [(loader, folder / f"moved_{name}", *rest) for name, loader, *rest in requests]
    answers = dict(zip(map(repr, requests), ask_a_clean_process(asked, folder), strict=True))

    def of(name):
        return lambda *request: answers[repr((name, *request))]

    return {name: (translator, expected[name], of(name)) for name, translator in translators.items()}


def texts(expected):
    """The best translation of each of SENTENCES."""
    return [expected[sentence][0].text for sentence in SENTENCES]


def requests_to(translator, expected):
    """All requests of the tests to one export, loaded as a server does."""
    batch, pairs = {"sentences": SENTENCES}, {"sentences": SENTENCES, "translations": TRANSLATIONS}
    best = {"sentences": SENTENCES, "translations": texts(expected)}
    for signature in ("serving_default", "n_best", "align"):
        yield "session", signature, batch
    yield from (("session", "score", inputs) for inputs in (pairs, best))
    yield from (("session", "ids", {"source_ids": rows}) for rows in (ids_of(translator), *WRONG))
    yield from (("session", name, EMPTY.get(name, {"sentences": []})) for name in NAMES)
    batches = [MIXED, *([sentence] for sentence in MIXED)]
    yield from (("session", "serving_default", {"sentences": sentences}) for sentences in batches)
    yield from (("session", name, {"sentences": [LONG, CUT]}) for name in ("n_best", "align"))
    yield "session", "score", {"sentences": [LONG, CUT, CUT], "translations": ["1", "2", "1 " * 20]}


def ids_of(translator):
    """The ids of SENTENCES and of a long sentence. Any ids follow END; the last row has no END."""
    rows = [[*ids, END, 7, -5, 10**6] for ids in translator.tokenizer.encode(SENTENCES)]
    rows.append(translator.tokenizer.encode(LONG))
    longest = max(map(len, rows))
    return [[*row, *[END] * (longest - len(row))] for row in rows]


WRONG = [[[5, number, END]] for number in (0, 2, -1, 10**6)]
MIXED = [sentence for pair in zip(SENTENCES, [*HOSTILE, ""], strict=True) for sentence in pair]
close = partial(pytest.approx, rel=1e-5, abs=1e-6)
for_each_translator = pytest.mark.parametrize("name", ["plain", "ensemble"])


@pytest.mark.parametrize(("name", "loader"), LOADED)
def test_serving_default_gives_what_the_translator_gives(served, name, loader):
    _, expected, answers = served[name]
    outputs = answers(loader, "serving_default", {"sentences": SENTENCES})
    best = [expected[sentence][0] for sentence in SENTENCES]
    assert outputs == {
        "translations": [hypothesis.text for hypothesis in best],
        "scores": close([hypothesis.score for hypothesis in best]),
        "truncated": [False] * len(SENTENCES),
    }
    assert len(set(outputs["translations"])) > 4


@for_each_translator
def test_n_best(served, name):
    translator, expected, answers = served[name]
    outputs = answers("session", "n_best", {"sentences": SENTENCES})
    rows = [expected[sentence] for sentence in SENTENCES]
    missing = [translator.beam_size - len(row) for row in rows]
    translations = [
        [hypothesis.text for hypothesis in row] + [""] * count for row, count in zip(rows, missing, strict=True)
    ]
    scores = [
        [hypothesis.score for hypothesis in row] + [-1e9] * count for row, count in zip(rows, missing, strict=True)
    ]
    assert outputs["translations"] == translations
    assert outputs["scores"] == [close(row) for row in scores]
    assert outputs["truncated"] == [False] * len(SENTENCES)
    assert [count for count, sentence in zip(missing, SENTENCES, strict=True) if is_blank(sentence)] == (
        [translator.beam_size - 1] * 2
    )


@for_each_translator
def test_score(served, name):
    translator, _, answers = served[name]
    outputs = answers("session", "score", {"sentences": SENTENCES, "translations": TRANSLATIONS})
    scores = translator.score(SENTENCES, TRANSLATIONS)
    assert outputs == {
        "scores": close([score.score for score in scores]),
        "log_probabilities": close([score.log_probability for score in scores]),
        "token_counts": [len(score.tokens) for score in scores],
        "truncated": [False] * len(SENTENCES),
    }
    assert outputs["token_counts"][:3] == [2, 3, 0]
    assert outputs["scores"][5] == -np.inf  # a blank sentence has only the blank translation


@for_each_translator
def test_the_best_translations_have_the_score_that_the_search_gave(served, name):
    translator, expected, answers = served[name]
    outputs = answers("session", "score", {"sentences": SENTENCES, "translations": texts(expected)})
    best = [expected[sentence][0] for sentence in SENTENCES]
    again = translator.tokenizer.encode([hypothesis.text for hypothesis in best], side="target")
    same = [
        i
        for i, (hypothesis, ids) in enumerate(zip(best, again, strict=True))
        if hypothesis.finished and list(hypothesis.tokens[:-1]) == translator.tokenizer.pieces(ids)
    ]
    assert len(same) >= 2
    assert [outputs["scores"][i] for i in same] == close([best[i].score for i in same])


@for_each_translator
def test_ids_give_the_same_as_the_strings(served, name):
    translator, expected, answers = served[name]
    outputs = answers("session", "ids", {"source_ids": ids_of(translator)})
    best = [expected[sentence][0] for sentence in [*SENTENCES, CUT]]
    ids = [[translator._pieces.ids[piece] for piece in hypothesis.tokens] for hypothesis in best]
    longest = max(map(len, ids))
    assert outputs == {
        "ids": [row + [0] * (longest - len(row)) for row in ids],
        "scores": close([hypothesis.score for hypothesis in best]),
        "truncated": [False] * len(SENTENCES) + [True],
    }


@for_each_translator
def test_ids_that_are_not_pieces_are_refused(served, name):
    translator, _, answers = served[name]
    for rows in WRONG:
        message = answers("session", "ids", {"source_ids": rows})["error"]
        assert f"source_ids must be 1 or from 4 to {translator.tokenizer.vocabulary_size - 1} before" in message
        assert f"[{rows[0][1]}]" in message


@for_each_translator
def test_align(served, name):
    translator, expected, answers = served[name]
    outputs = answers("session", "align", {"sentences": SENTENCES})
    arrays = np.array(outputs["alignment"])
    assert outputs["truncated"] == [False] * len(SENTENCES)
    for row, sentence in enumerate(SENTENCES):
        best = expected[sentence][0]
        source, target, array = translator.alignment("" if is_blank(sentence) else sentence, best.tokens)
        size = len(best.tokens)  # without END if the translation reached the limit
        assert [piece for piece in outputs["source_pieces"][row] if piece] == source
        assert [piece for piece in outputs["target_pieces"][row] if piece] == target[:size]
        assert arrays[row, :size, : len(source)] == close(array[:size])
        assert arrays[row].sum() == pytest.approx(size, abs=1e-5)  # and nothing at padding
        assert (outputs["translations"][row], outputs["scores"][row]) == (best.text, close(best.score))


@for_each_translator
def test_an_empty_batch(served, name):
    _, _, answers = served[name]
    for signature in NAMES:
        outputs = answers("session", signature, EMPTY.get(signature, {"sentences": []}))
        assert len(outputs) >= 3 and all(value == [] for value in outputs.values())


@for_each_translator
def test_other_sentences_of_the_batch_change_nothing(served, name):
    _, expected, answers = served[name]
    mixed = answers("session", "serving_default", {"sentences": MIXED})
    for row, sentence in enumerate(MIXED):
        alone = answers("session", "serving_default", {"sentences": [sentence]})
        assert mixed["translations"][row : row + 1] == alone["translations"]
        assert mixed["scores"][row : row + 1] == close(alone["scores"])
        assert mixed["truncated"][row : row + 1] == alone["truncated"]
    assert mixed["truncated"][:9] == [False, False, False, False, False, True, False, True, False]
    assert mixed["translations"][1] == expected["\N{REPLACEMENT CHARACTER}"][0].text
    assert mixed["translations"][3] == expected[HOSTILE[1]][0].text  # control characters and NUL


@for_each_translator
def test_long_sources_are_cut_and_marked_as_truncated(served, name):
    _, _, answers = served[name]
    for signature in ("n_best", "align"):
        outputs = answers("session", signature, {"sentences": [LONG, CUT]})
        assert outputs["truncated"] == [True, False]
        assert outputs["translations"][0] == outputs["translations"][1]
        assert outputs["scores"][0] == close(outputs["scores"][1])
    outputs = answers("session", "score", {"sentences": [LONG, CUT, CUT], "translations": ["1", "2", "1 " * 20]})
    assert outputs["truncated"] == [True, False, True]
    assert outputs["token_counts"] == [2, 2, LIMIT + 4]  # the most that a search may give


def test_text_is_made_valid_and_cut_between_characters():
    texts = [b"a" + "é".encode() * 300, b"b" * 128, b"b" * 129, b"\xff\0c", "é".encode() * 64 + b"d", b""]
    valid, is_cut = cut_to_valid_utf8(tf.constant(texts), 2)
    expected = ["a" + "é" * 63, "b" * 128, "b" * 128, "\ufffd\0c", "é" * 64, ""]
    assert [text.decode() for text in valid.numpy()] == expected
    assert is_cut.numpy().tolist() == [True, False, True, False, True, False]


def test_rows_are_ended_by_end():
    ids = tf.constant([[5, 6, 7], [8, 3, 9], [3, 4, 4]])
    lengths = count_pieces(ids, 10)
    assert lengths.numpy().tolist() == [3, 1, 0]
    whole, is_cut = end_rows(ids, lengths, 4)
    assert whole.numpy().tolist() == [[5, 6, 7, 3], [8, 3, 0, 0], [3, 0, 0, 0]]
    assert is_cut.numpy().tolist() == [False] * 3
    short, is_cut = end_rows(ids, lengths, 3)
    assert short.numpy().tolist() == [[5, 6, 3], [8, 3, 0], [3, 0, 0]]
    assert is_cut.numpy().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("options", "asked", "limit"),
    [
        ({"max_extra_length": 4}, 256, 16),
        ({"max_extra_length": 4}, 9, 9),
        ({"max_length": 10}, 256, 20),
        ({"max_extra_length": 18}, 256, 2),
    ],
)
def test_learned_positions_have_room_for_source_and_translation(tmp_path, options, asked, limit):
    model = tiny.make_model(positions="learned", max_length=20)
    translator = Translator(model, tiny.make_tokenizer(tmp_path), **options)
    assert source_limit(translator, asked) == limit


def test_no_example_sentence_is_too_long(tmp_path):
    """A source may have nine tokens. The model's 20 learned positions and the search would allow 16."""
    model = tiny.make_model(positions="learned", max_length=20)
    translator = Translator(model, tiny.make_tokenizer(tmp_path), max_extra_length=4)
    facts = facts_of(translator, None, source_limit(translator, 9), "float32")
    assert [len(sentence.split()) for sentence in facts.sentences] == [1, 5]
    assert facts.translations == translator(facts.sentences)


def test_limits_out_of_range(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path)
    narrow = Translator(tiny.make_model(positions="learned", max_length=20), tokenizer, max_extra_length=19)
    with pytest.raises(ValueError, match=r"has 20 learned positions\. They have no room .* Lower max_extra_length=19"):
        narrow.export(tmp_path / "1")
    for wrong in (1, 2.0, True):
        with pytest.raises(ValueError, match="max_source_length must be an int of at least 2"):
            Translator(tiny.make_model(), tokenizer).export(tmp_path / "1", max_source_length=wrong)
    assert not (tmp_path / "1").exists()
