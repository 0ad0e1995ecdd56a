"""Validation pairs are taken out of a corpus: disjoint, complete, the same for the same seed."""

import pytest

from keras_transformer.data import split_corpus


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(paths):
    sides = [path.read_text(encoding="utf-8").split("\n") for path in paths]
    assert [side.pop() for side in sides] == ["", ""]
    return list(zip(*sides, strict=True))


@pytest.fixture
def pairs():
    # 31 sentences; every third one has a second translation at the end of the corpus.
    first = [(f"s{number}", f"t{number}") for number in range(31)]
    return first + [(f"s{number}", f"u{number}") for number in range(0, 31, 3)]


def split(folder, pairs, *arguments, **options):
    files = [write(folder / name, side) for name, side in zip(("a", "b"), zip(*pairs, strict=True), strict=True)]
    return {part: read(paths) for part, paths in split_corpus(*files, folder / "parts", *arguments, **options).items()}


def test_the_parts_are_the_corpus_and_share_no_source_sentence(tmp_path, pairs):
    parts = split(tmp_path, pairs, 7)
    assert sorted(parts["train"] + parts["valid"]) == sorted(pairs)
    sources = [{source for source, _ in parts[part]} for part in ("train", "valid")]
    assert not sources[0] & sources[1]
    assert 7 <= len(parts["valid"]) <= 8  # a sentence has at most two translations
    assert parts["train"] == [pair for pair in pairs if pair in set(parts["train"])]  # in the order of the files


def test_the_choice_depends_on_the_sentences_and_the_seed_alone(tmp_path, pairs):
    (tmp_path / "again").mkdir()
    chosen = set(split(tmp_path, pairs, 7)["valid"])
    assert set(split(tmp_path / "again", pairs[::-1], 7)["valid"]) == chosen
    assert set(split(tmp_path, pairs, 7, seed=1)["valid"]) != chosen


def test_the_usual_number_is_a_twentieth(tmp_path, pairs):
    assert 2 <= len(split(tmp_path, pairs)["valid"]) <= 3  # of 42 pairs


def test_sentences_in_memory_and_generators(tmp_path, pairs):
    sources, targets = map(list, zip(*pairs, strict=True))
    from_files = split(tmp_path, pairs, 5)
    paths = split_corpus(sources, iter(targets), tmp_path / "other", 5)
    assert {part: read(files) for part, files in paths.items()} == from_files


def test_too_many_validation_pairs_and_broken_lines_are_refused_and_older_files_stay(tmp_path, pairs):
    older = split(tmp_path, pairs, 5)
    with pytest.raises(ValueError, match=r"valid_pairs=42 of 42 pairs would leave none to train on\. Take fewer"):
        split(tmp_path, pairs, 99)
    with pytest.raises(
        ValueError, match=r"source\[1\]: a carriage return inside the sentence\. Replace it with a space"
    ):
        split_corpus(["a", "b\rc"], ["d", "e"], tmp_path / "parts")
    with pytest.raises(ValueError, match=r"target\[1\]: it has half a surrogate pair, which is not Unicode\."):
        split_corpus(["a", "b"], ["d", "\ud800"], tmp_path / "parts")
    assert {part: read([tmp_path / "parts" / f"{part}.{side}" for side in ("source", "target")]) for part in older} == (
        older
    )


def test_blank_pairs_are_never_validated(tmp_path, pairs):
    blank = [("", "t"), (" ", ""), ("s", "\u3000"), ("\u200b", "t")] * 20
    parts = split(tmp_path, [*blank, *pairs], 7)
    assert set(parts["valid"]) < set(pairs) and len(parts["valid"]) >= 7
    assert sorted(parts["train"] + parts["valid"]) == sorted([*blank, *pairs])
    (tmp_path / "few").mkdir()
    with pytest.raises(ValueError, match="valid_pairs=2 of 2 pairs would leave none to train on"):
        split(tmp_path / "few", [*blank, ("a", "b"), ("c", "d")], 3)
