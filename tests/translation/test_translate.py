"""The Translator against a plain search in Python that calls the whole model and keeps no cache."""

import io
import math

import keras
import numpy as np
import pytest
import tiny
from plain_search import next_log_probabilities, plain_beam_search, text_of
from rich.console import Console

from keras_transformer import Transformer, Translator
from keras_transformer.decoding import length_divisor
from keras_transformer.ids import END, START
from keras_transformer.translation import batches
from keras_transformer.translation import translator as translate

EXTRA = 5
SENTENCES = ["4", "3 1 4 1 5", "", "9 8", "1 2 3 4 5 6 7"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def translator(tokenizer):
    return Translator(tiny.make_opinionated(), tokenizer, beam_size=3, max_extra_length=EXTRA)


@pytest.fixture(scope="module")
def greedy(tokenizer):
    return Translator(tiny.make_opinionated(), tokenizer, beam_size=1, max_extra_length=EXTRA)


@pytest.fixture(scope="module")
def found(translator):
    return translator.n_best(SENTENCES, batch_size=4)


@pytest.fixture(scope="module")
def plain(translator):
    return [plain_beam_search(translator, sentence) if sentence else None for sentence in SENTENCES]


def test_beam_search_in_the_graph_is_the_plain_one(translator, found, plain):
    flags = set()
    for hypotheses, expected in zip(found, plain, strict=True):
        if expected is None:
            continue
        assert [h.text for h in hypotheses] == [text_of(translator, ids) for ids, *_ in expected]
        np.testing.assert_allclose([h.log_probability for h in hypotheses], [e[1] for e in expected], rtol=1e-5)
        np.testing.assert_allclose([h.score for h in hypotheses], [e[2] for e in expected], rtol=1e-5)
        assert [h.finished for h in hypotheses] == [e[3] for e in expected]
        flags |= {h.finished for h in hypotheses}
    assert flags == {True, False}  # the model gave both cases


def test_a_score_is_the_teacher_forced_log_probability_over_the_penalty(translator, found, plain):
    for sentence, hypotheses, expected in zip(SENTENCES, found, plain, strict=True):
        if expected is None:
            continue
        ids = expected[0][0]
        [pieces] = translator.tokenizer.encode([sentence])
        target = np.array([[START, *ids]])  # the last row predicts what would follow END
        logits = translator.model({"source": np.array([[*pieces, END]]), "target": target})
        table = keras.ops.convert_to_numpy(keras.ops.log_softmax(logits))[0]  # (T + 1, V)
        total = sum(table[position, token] for position, token in enumerate(ids))
        assert hypotheses[0].log_probability == pytest.approx(total, rel=1e-5)
        assert hypotheses[0].score == pytest.approx(total / float(length_divisor(len(ids), 0.6)), rel=1e-5)


def test_one_beam_takes_the_most_likely_token_each_time(greedy):
    for sentence, [hypothesis] in zip(SENTENCES, greedy.n_best(SENTENCES), strict=True):
        if not sentence:
            continue
        [pieces] = greedy.tokenizer.encode([sentence])
        ids, total = [], 0.0
        while len(ids) < len(pieces) + 1 + EXTRA and ids[-1:] != [END]:
            [row] = next_log_probabilities([greedy.model], [*pieces, END], [ids])
            ids.append(int(row.argmax()))
            total += row.max()
        assert hypothesis.text == text_of(greedy, ids)
        assert hypothesis.log_probability == pytest.approx(total, rel=1e-5)
        assert hypothesis.finished == (ids[-1] == END)


def test_a_batch_gives_what_its_sentences_give_alone(translator, found):
    for sentence, hypotheses in zip(SENTENCES, found, strict=True):
        [alone] = translator.n_best([sentence])
        assert [h.text for h in alone] == [h.text for h in hypotheses]
        np.testing.assert_allclose([h.score for h in alone], [h.score for h in hypotheses], rtol=1e-5)


def test_calling_gives_the_first_of_the_best_in_the_order_given(translator, found):
    first = [hypotheses[0].text for hypotheses in found]
    assert len(set(first)) > 2
    assert translator(SENTENCES) == first
    assert translator(SENTENCES[::-1], batch_size=2) == first[::-1]
    assert translator(SENTENCES, batch_size=1, workers=3) == translator(SENTENCES, batch_size=1, workers=1) == first
    assert translator(tuple(SENTENCES)) == first
    assert [h[:2] for h in found] == translator.n_best(SENTENCES, 2, batch_size=4)


def test_hypotheses_are_best_first_and_finished_ones_before_others(found):
    for hypotheses in found:
        finished = [h.score for h in hypotheses if h.finished]
        cut_off = [h.score for h in hypotheses if not h.finished]
        assert [h.score for h in hypotheses] == sorted(finished, reverse=True) + sorted(cut_off, reverse=True)


def test_nothing_translates_to_nothing(translator, greedy):
    assert translator([]) == [] and translator.n_best([]) == []
    for each in (translator, greedy):
        for hypotheses in each.n_best(["", " ", "\t\n", "\u200b\ufeff", "1"])[:4]:
            assert hypotheses == [translate.Hypothesis("", 0.0, 0.0, True)]


def says_only(model, token):
    """The model, changed to give `token` a logit of 3 and every other a logit of 0 at each step."""
    tiny.last_norm(model).gamma.assign(np.zeros(16))
    tiny.last_norm(model).beta.assign(np.eye(16)[0])
    rows = np.zeros(model.output_map.embeddings.shape)
    rows[token, 0] = 3.0
    model.output_map.embeddings.assign(rows)
    return model


LOG_P = 3 - math.log(math.exp(3) + 24)  # of the one token, in a vocabulary of 25


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 1e-2)])
def test_a_translation_ends_at_the_limit(tokenizer, policy, tolerance):
    [[seven]] = tokenizer.encode(["7"])
    model = says_only(tiny.make_opinionated(dtype=policy), seven)
    [[hypothesis]] = Translator(model, tokenizer, beam_size=1, max_extra_length=2).n_best(["1 2 3"])
    assert hypothesis.text == tokenizer.decode([[seven] * 6])[0]  # 3 pieces, END, 2 more
    assert not hypothesis.finished
    assert hypothesis.log_probability == pytest.approx(6 * LOG_P, rel=tolerance)
    assert hypothesis.score == pytest.approx(6 * LOG_P / (11 / 6) ** 0.6, rel=tolerance)


def test_attention_names_the_pieces_of_its_rows_and_columns(translator):
    source, target, weights = translator.attention("3 1 4", "4 1")
    assert (source, target) == (["▁3", "▁1", "▁4", "[END]"], ["▁4", "▁1", "[END]"])
    shapes = {"encoder": (1, 2, 4, 4), "decoder": (1, 2, 3, 3), "cross": (1, 2, 3, 4)}
    assert {name: array.shape for name, array in weights.items()} == shapes
    for array in weights.values():
        np.testing.assert_allclose(array.sum(-1), 1.0, rtol=1e-5)
    assert np.all(weights["decoder"][..., 0, 1:] == 0)


def test_progress_goes_to_a_terminals_standard_error_alone(greedy, monkeypatch, capsys):
    expected = greedy.n_best(["1 2"])
    assert greedy.n_best(["1 2"], progress=True) == expected
    assert capsys.readouterr() == ("", "")
    screen = io.StringIO()
    monkeypatch.setattr(batches, "Console", lambda stderr: Console(file=screen, force_terminal=stderr))
    assert greedy.n_best(["1 2"], progress=False) == expected
    assert screen.getvalue() == ""
    assert greedy.n_best(["1 2"], progress=True) == expected
    assert "translating" in screen.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be from 1 to 2147483647, got 0"),
        ({"length_penalty": -0.5}, "length_penalty must be from 0 to 6, got -0.5"),
        ({"max_extra_length": -1}, "max_extra_length must be from 0 to 1073741824, got -1"),
    ],
)
def test_options_out_of_range_are_refused(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        Translator(tiny.make_model(), tokenizer, **options)


def test_a_model_of_another_size_is_refused(tokenizer):
    with pytest.raises(ValueError, match="has 25 pieces, the model's vocabulary_size is 26"):
        Translator(tiny.make_model(vocabulary_size=26), tokenizer)
    model = tiny.make_model(target_vocabulary_size=27, tie_embeddings="none")
    with pytest.raises(ValueError, match="has 25 pieces, the model's target_vocabulary_size is 27"):
        Translator(model, tokenizer)


def test_bad_arguments_of_a_call_are_refused(translator):
    with pytest.raises(TypeError, match="must be a list of strings, got one string"):
        translator("1 2")
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        translator(["1 2"], batch_size=0)
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, got 0"):
        translator(["1 2"], workers=0)
    for n in (0, 4):
        with pytest.raises(ValueError, match=f"n must be between 1 and beam_size=3, got {n}"):
            translator.n_best(["1 2"], n)


def test_half_a_character_is_named_by_its_sentence(translator):
    for call in (translator, lambda texts: translator.score(["1"] * 3, texts), translator.tokenizer.encode):
        with pytest.raises(
            ValueError, match=r"text \d is not Unicode: its character 2, '\\udc80', is half a surrogate pair"
        ):
            call(["1", "2", "a\udc80"])
    with pytest.raises(ValueError, match="text 2 is not Unicode"):
        translator(["1", "2", "a\udc80"])


def test_a_sentence_longer_than_learned_positions_is_named(tokenizer):
    model = tiny.make_model(positions="learned", max_length=8)
    translator = Translator(model, tokenizer, beam_size=1, max_extra_length=3)
    assert len(translator(["1 2 3 4"])) == 1
    with pytest.raises(ValueError, match=r"sentence 1 has 5 pieces.* 8 learned positions: '1 2 3 4 5'"):
        translator(["1", "1 2 3 4 5"])


def test_a_saved_folder_translates_the_same(greedy, tmp_path):
    greedy.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model.keras", "tokenizer.model"]
    loaded = Translator.load(tmp_path / "run", beam_size=1, max_extra_length=EXTRA)
    assert isinstance(loaded.model, Transformer)
    assert loaded.n_best(SENTENCES) == greedy.n_best(SENTENCES)


def test_saving_overwrites_only_when_asked(greedy, tmp_path):
    greedy.save(tmp_path / "run")
    (tmp_path / "run" / "model.keras").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="run exists already"):
        greedy.save(tmp_path / "run")
    assert (tmp_path / "run" / "model.keras").read_bytes() == b"precious"
    greedy.save(tmp_path / "run", overwrite=True)
    assert isinstance(translate.load_model(tmp_path / "run" / "model.keras"), Transformer)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (tmp_path / "run" / "last.keras").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"run also holds last\.keras, which would be lost"):
        greedy.save(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "last.keras").read_bytes() == b"precious"


@pytest.mark.parametrize("dtype", ["int8", "int32", "int8_from_int32", "nonsense"])
def test_a_dtype_that_no_model_has_is_refused(greedy, tmp_path, dtype):
    greedy.save(tmp_path / "run")
    with pytest.raises(ValueError, match=f"dtype='{dtype}' is no Keras dtype policy .*, or 'int8_from_float32' for"):
        Translator.load(tmp_path / "run", dtype=dtype)


def test_files_that_cannot_be_loaded_are_named(greedy, tmp_path):
    model, tokenizer = tmp_path / "run" / "model.keras", tmp_path / "run" / "tokenizer.model"
    with pytest.raises(ValueError, match="folder is an empty list"):
        Translator.load([])
    with pytest.raises(FileNotFoundError, match=r"^folder='.*/run' does not exist\."):
        Translator.load(tmp_path / "run")
    greedy.save(tmp_path / "run")
    good = model.read_bytes()
    for broken in (b"", b"no model", good[: len(good) // 2]):
        model.write_bytes(broken)
        with pytest.raises(ValueError, match=r"run/model\.keras cannot be read as a Keras model"):
            Translator.load(tmp_path / "run")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(model)
    with pytest.raises(ValueError, match=r"run/model\.keras holds a Sequential, not a Transformer"):
        Translator.load(tmp_path / "run")
    model.write_bytes(good)
    tokenizer.write_bytes(b"no tokenizer")
    with pytest.raises(ValueError, match=r"run/tokenizer\.model"):
        Translator.load(tmp_path / "run")
    tokenizer.unlink()
    with pytest.raises(FileNotFoundError, match=r"run/tokenizer\.model"):
        Translator.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [(0, 2, []), (7, 1, [7]), (7, 2, [7]), (8, 2, [4, 4]), (11, 3, [6, 5]), (13, 3, [5, 4, 4]), (26, 2, [9, 9, 8])],
)
def test_batches_are_equal_and_busy_all_workers(count, workers, sizes):
    lengths = np.arange(count) % 5
    found = list(batches.by_length(lengths, 12, workers))
    assert [len(chosen) for chosen in found] == sizes
    order = np.concatenate([*found, []]).astype(int)
    assert sorted(order) == list(range(count)) and (np.diff(lengths[order]) <= 0).all()
