"""The data pipeline: each kept pair once, in batches of a few known shapes, within the token budget."""

import itertools
import json
import logging
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tiny
from characters import Characters, files, pairs_of, random_pairs, same, write

from keras_transformer.data import parallel_corpus, read_pairs
from keras_transformer.data.buckets import batch_rows, choose_shapes
from keras_transformer.ids import END, NUM_RESERVED, PAD, START


def test_a_batch_by_hand(tmp_path):
    source, target = files(tmp_path, [("ab", "c"), ("a", "cd")])
    dataset = parallel_corpus(source, target, Characters(), num_shapes=1, rows_multiple=1, tokens_per_batch=12)
    (inputs, labels), *rest = list(parallel_corpus(source, target, Characters(), num_shapes=1, shuffle=False))
    assert not rest
    assert inputs["source"][:2].numpy().tolist() == [[101, 102, END], [101, END, PAD]]
    assert inputs["target"][:2].numpy().tolist() == [[START, 103, PAD], [START, 103, 104]]
    assert labels[:2].numpy().tolist() == [[103, END, PAD], [103, 104, END]]
    assert {part.dtype for part in (*inputs.values(), labels)} == {tf.int32}
    assert labels.shape == (8, 3), "the rows of a batch are a multiple of 8"
    assert not any(part[2:].numpy().any() for part in (*inputs.values(), labels)), "the other rows are PAD"
    assert [labels.shape for _, labels in dataset] == [(2, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"tokens_per_batch": 400},
        {"tokens_per_batch": 400, "shuffle": False},
        {"tokens_per_batch": 1000, "num_shapes": 3, "rows_multiple": 4},
        {"tokens_per_batch": 130, "num_shapes": 5},
        {"tokens_per_batch": 60, "num_shapes": 1},
    ],
)
def test_an_epoch_holds_every_kept_pair_once_within_the_budget(tmp_path, options):
    pairs = random_pairs(1100)
    dataset = parallel_corpus(*files(tmp_path, pairs), Characters(), **options)
    report, batches = dataset.report, list(dataset)
    assert Counter(pair for batch in batches for pair in pairs_of(batch)) == Counter(pairs)
    assert len(batches) == report.batches == dataset.cardinality().numpy()

    shapes = {(shape.rows, shape.source, shape.target) for shape in report.shapes}
    assert len(report.shapes) <= options.get("num_shapes", 12)
    seen = Counter()
    for inputs, labels in batches:
        rows, longest = labels.shape
        assert inputs["target"].shape == labels.shape
        assert (rows, inputs["source"].shape[1], longest) in shapes
        assert rows * max(longest, inputs["source"].shape[1]) <= options["tokens_per_batch"]
        multiple = options.get("rows_multiple", 8)
        most = options["tokens_per_batch"] // max(longest, inputs["source"].shape[1])
        if most >= multiple:
            assert rows % multiple == 0
        else:
            assert rows == 2 ** (most.bit_length() - 1), "the largest power of two that fits"
        expected = np.where(labels == PAD, PAD, np.concatenate([np.full((rows, 1), START), labels[:, :-1]], axis=1))
        assert np.array_equal(inputs["target"], expected)
        seen["source_tokens"] += np.count_nonzero(inputs["source"])
        seen["target_tokens"] += np.count_nonzero(labels)
        seen["source_positions"] += inputs["source"].numpy().size
        seen["target_positions"] += labels.numpy().size
    assert seen == {name: getattr(report, name) for name in seen}


def test_pairs_with_an_empty_or_a_long_side_are_left_out_and_counted(tmp_path, caplog):
    kept = [("abcd", "x"), ("a", "wxyz"), (" a ", "x")]
    empty = [("", "x"), ("a", ""), ("", ""), (" \t", "x"), ("a", "\u3000\u00a0"), ("", "toolong")]
    long = [("abcde", "x"), ("a", "vwxyz")]
    source, target = files(tmp_path, [*kept, *empty, *long])
    with caplog.at_level(logging.INFO, "keras_transformer"):
        dataset = parallel_corpus(source, target, Characters(), max_length=5, shuffle=False)
    assert Counter(pair for batch in dataset for pair in pairs_of(batch)) == Counter(kept)
    report = dataset.report
    assert (report.pairs, report.kept, report.dropped_empty, report.dropped_long) == (11, 3, 6, 2)
    assert (report.source_tokens, report.target_tokens) == (5 + 2 + 4, 2 + 5 + 2)
    info, warning = caplog.records
    assert (info.levelname, info.getMessage()) == ("INFO", str(report))
    assert (warning.levelname, warning.getMessage()) == (
        "WARNING",
        "8 of 11 sentence pairs left out: 6 with an empty side, 2 with a side of more than max_length=5 ids",
    )


def test_a_side_without_a_visible_character_is_empty(tmp_path):
    spaces = [chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) not in "\n\r"]
    spaces += ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u200b \u200d"]
    others = ["-", "a\u200b"]
    dataset = parallel_corpus(*files(tmp_path, [(c, "x") for c in spaces + others]), Characters(), shuffle=False)
    assert [source for batch in dataset for source, _ in pairs_of(batch)] == others
    assert dataset.report.dropped_empty == len(spaces) > 20


def test_a_line_without_pieces_is_an_empty_side(tmp_path):
    class WithoutDashes(Characters):
        def tokenize(self, strings, side):
            return super().tokenize(tf.strings.regex_replace(strings, "-", ""), side)

    dataset = parallel_corpus(*files(tmp_path, [("--", "x"), ("a-", "y"), ("b", "-")]), WithoutDashes())
    assert [pair for batch in dataset for pair in pairs_of(batch)] == [("a", "y")]
    assert dataset.report.dropped_empty == 2


@pytest.mark.parametrize(("copied", "warnings"), [(0, 0), (3, 0), (4, 1)])
def test_pairs_with_the_same_text_on_both_sides_are_counted(copied, warnings, tmp_path, caplog):
    pairs = [("ab" * length, "ab" * length if length <= copied else "c") for length in range(1, 7)]
    report = parallel_corpus(*files(tmp_path, [*pairs, ("", "")]), Characters()).report
    assert report.copies == copied
    assert (f"{copied} pairs have the same text on both sides\n" in str(report)) == (copied > 0)
    found = [text for text in caplog.messages if "A model of them learns to copy." in text]
    assert len(found) == warnings and all(text.startswith("4 of 7 sentence pairs have the same text") for text in found)


def test_a_clean_corpus_gives_no_warning(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "keras_transformer"):
        parallel_corpus(*files(tmp_path, random_pairs(5)), Characters())
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_several_files_and_gzip_give_the_same_batches_as_one_file(tmp_path):
    pairs = random_pairs(300)
    whole = files(tmp_path, pairs)
    first = files(tmp_path, pairs[:100], ("1.en", "1.de.gz"))
    second = files(tmp_path, pairs[100:], ("2.en.gz", "2.de"))
    options = {"tokens_per_batch": 200, "shuffle": False}
    parts = parallel_corpus([first[0], second[0]], [first[1], second[1]], Characters(), **options)
    assert same(list(parts), list(parallel_corpus(*whole, Characters(), **options)))


def test_windows_line_ends_and_a_last_line_without_end(tmp_path):
    pairs = [("ab", "cd"), ("e", "f"), ("gh", "i\u2028j")]
    source, target = files(tmp_path, pairs, end="\r\n")
    (tmp_path / "target.txt").write_bytes((tmp_path / "target.txt").read_bytes().removesuffix(b"\r\n"))
    (batch,) = parallel_corpus(source, target, Characters(), num_shapes=1, shuffle=False)
    assert pairs_of(batch) == pairs == read_pairs(source, target)


def test_a_seed_repeats_its_epochs_and_no_epoch_repeats_another(tmp_path):
    paths = files(tmp_path, random_pairs(150))
    options = {"tokens_per_batch": 200, "num_shapes": 3}
    make = lambda seed: parallel_corpus(*paths, Characters(), seed=seed, **options)  # noqa: E731
    dataset, again, other = make(1), make(1), make(2)
    epochs = [list(dataset), list(dataset)]
    assert same(epochs[0], list(again))
    assert same(epochs[1], list(again))
    batches = [{frozenset(pairs_of(batch)) for batch in epoch} for epoch in epochs]
    assert not batches[0] & batches[1], "the pairs meet in other batches"
    assert not same(epochs[0], list(other))
    lengths = [labels.shape[1] for _, labels in epochs[0]]
    assert lengths != sorted(lengths), "the shapes come mixed"


def test_without_shuffling_pairs_keep_their_order_within_a_shape(tmp_path):
    pairs = random_pairs(400)
    dataset = parallel_corpus(*files(tmp_path, pairs), Characters(), tokens_per_batch=300, shuffle=False)
    place = {pair: i for i, pair in enumerate(pairs)}
    order = {}
    for batch in dataset:
        order.setdefault(batch[1].shape, []).extend(place[pair] for pair in pairs_of(batch))
    assert len(order) == len(dataset.report.shapes) > 5
    assert all(places == sorted(places) for places in order.values())
    assert same(list(dataset), list(dataset))


def test_two_replicas_get_the_halves_of_each_batch(tmp_path):
    dataset = parallel_corpus(*files(tmp_path, random_pairs(300)), Characters(), tokens_per_batch=300, shuffle=False)
    strategy = tiny.two_replicas()
    assert strategy.num_replicas_in_sync == 2
    shared = list(strategy.experimental_distribute_dataset(dataset))
    assert len(shared) == dataset.report.batches
    for split, whole in zip(shared, dataset, strict=True):
        for parts, full in zip(tf.nest.flatten(split), tf.nest.flatten(whole), strict=True):
            halves = strategy.experimental_local_results(parts)
            assert len({half.shape for half in halves}) == 1
            assert np.array_equal(np.concatenate(halves), full)


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        (b"a\nb\nc\n", b"x\n", {}, r"source.txt has 3 lines and .*target.txt has 1: they must be aligned"),
        (b"a\n", b"x\ny\n\n", {}, r"source.txt has 1 lines and .*target.txt has 3"),
        (b"", b"", {}, r"source.txt and .*target.txt have no lines"),
        (b"a\n\xff\n", b"x\ny\n", {}, r"source.txt, line 2: not valid UTF-8"),
        (b"a\n", b"x\ry\n", {}, r"target.txt, line 1: a carriage return inside the line.*'x\\ry'"),
        (
            b"abc\n\n",
            b"x\ny\n",
            {"max_length": 3},
            r"No sentence pair is left of .*: 1 have an empty side, 1 .*max_length=3",
        ),
        (b"abcd\n", b"x\n", {"tokens_per_batch": 4}, r"tokens_per_batch=4 cannot hold the longest sentence, 5 ids"),
        (b"a\n", b"x\n", {"tokens_per_batch": 0}, r"tokens_per_batch must be a whole number of at least 1, got 0"),
        (b"a\n", b"x\n", {"max_length": 2.5}, r"max_length must be .* got 2.5"),
        (b"a\n", b"x\n", {"num_shapes": 0}, r"num_shapes must be .* got 0"),
        (b"a\n", b"x\n", {"seed": 1.5}, r"seed must be a whole number, got 1.5"),
        (b"a\n", b"x\n", {"weights": [1, 2]}, r"one number for each path: got 2 for 1"),
        (b"a\n", b"x\n", {"weights": [0]}, r"weights must be numbers above 0, got 0"),
        (b"a\n", b"x\n", {"weights": [float("nan")]}, r"weights must be numbers above 0, got nan"),
        (b"a\n", b"x\n", {"weights": [-1.5]}, r"weights must be numbers above 0, got -1.5"),
        (b"a\n", b"x\n", {"weights": ["much"]}, r"weights must be numbers above 0, got 'much'"),
        (b"a\n", b"x\n", {"start": (0, 1)}, r"start=\(0, 1\) is beyond the epoch: its batches are 0..0"),
        (b"a\n", b"x\n", {"start": (-1, 0)}, r"start must be \(epoch, batch\), whole numbers from 0, got \(-1, 0\)"),
        (b"a\n", b"x\n", {"rows_multiple": True}, r"rows_multiple must be .* got True"),
    ],
)
def test_errors_name_the_file_the_line_or_the_argument(tmp_path, source, target, options, message):
    paths = [tmp_path / "source.txt", tmp_path / "target.txt"]
    for path, data in zip(paths, (source, target), strict=True):
        path.write_bytes(data)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        parallel_corpus(*paths, Characters(), **options)


@pytest.mark.parametrize("tokenizer", [Characters(vocabulary_size=101), Characters(shift=END - ord("a"))])
def test_ids_that_no_piece_may_have_are_refused(tmp_path, tokenizer):
    lines = ["A"] * 1001 + ["a"] if tokenizer.shift == NUM_RESERVED else ["b"] * 1001 + ["a"]
    source, target = files(tmp_path, [("b" if tokenizer.shift < 0 else "A", line) for line in lines])
    with pytest.raises(ValueError, match=r"target.txt, line 1002: the tokenizer gave an id .* begins 'a'"):
        parallel_corpus(source, target, tokenizer)


def test_unequal_lists_and_missing_files(tmp_path):
    source, target = files(tmp_path, random_pairs(2))
    for sides in ([source, source], [target]), ([], []):
        with pytest.raises(ValueError, match=f"the same number of files, at least one each; got {len(sides[0])} and"):
            parallel_corpus(*sides, Characters())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        parallel_corpus(source, tmp_path / "nowhere.txt", Characters())


def test_numbers_may_come_from_numpy(tmp_path):
    sizes = {"tokens_per_batch": 100, "max_length": 9, "num_shapes": 2, "rows_multiple": 2}
    made = [
        parallel_corpus(*files(tmp_path, random_pairs(50)), Characters(), **options)
        for options in (sizes, {name: np.int64(size) for name, size in sizes.items()})
    ]
    assert json.dumps(made[0].fingerprint) == json.dumps(made[1].fingerprint)


def test_files_that_change_or_vanish_later_make_no_difference(tmp_path):
    pairs = random_pairs(50)
    source, target = files(tmp_path, pairs)
    dataset = parallel_corpus(source, target, Characters())
    files(tmp_path, [("abc", "cd")] * 20)
    (tmp_path / "target.txt").unlink()
    assert Counter(pair for batch in dataset for pair in pairs_of(batch)) == Counter(pairs)


def test_read_pairs_leaves_nothing_out(tmp_path):
    pairs = [("a", "x"), ("", "y"), (" c", "")]
    source, target = files(tmp_path, pairs, ("s.gz", "t"))
    assert read_pairs(source, target) == pairs
    assert read_pairs([source, source], [target, target]) == pairs * 2
    with pytest.raises(ValueError, match=r"has 3 lines and .* has 1"):
        read_pairs(source, write(tmp_path / "short", ["a"]))


@pytest.mark.parametrize(
    ("longest", "pairs", "budget", "multiple", "rows"),
    [
        (10, 100_000, 100, 8, 8),  # 10 rows fit; 8 is the multiple below
        (10, 100_000, 799, 8, 72),
        (10, 100_000, 799, 1, 79),
        (100, 100_000, 799, 8, 4),  # 7 rows fit: the power of two below
        (100, 100_000, 100, 8, 1),
        (10, 150, 1000, 8, 80),  # two batches of 96 at most, evened
        (10, 97, 1000, 8, 56),
        (10, 96, 1000, 8, 96),
        (10, 3, 1000, 8, 8),
    ],
)
def test_rows_by_hand(longest, pairs, budget, multiple, rows):
    assert batch_rows(longest, pairs, budget, multiple) == rows


def positions(chain, lengths, budget, multiple):
    """The positions of an epoch if each pair goes to the first shape of the chain that it fits in."""
    counts = Counter()
    for (source, target), pairs in lengths.items():
        counts[next(s for s in chain if s[0] >= source and s[1] >= target)] += pairs
    rows = {shape: int(batch_rows(max(shape), pairs, budget, multiple)) for shape, pairs in counts.items()}
    return sum(-(-pairs // rows[shape]) * rows[shape] * sum(shape) for shape, pairs in counts.items())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("budget", "num_shapes"), [(30, 1), (30, 3), (200, 2), (200, 4)])
def test_the_shapes_are_the_best_of_all_chains(seed, budget, num_shapes):
    rng = np.random.default_rng(seed)
    sizes = np.array([2, 3, 5, 7, 11])
    lengths = {(int(a), int(b)): int(rng.integers(1, 60)) for a, b in rng.choice(sizes, (9, 2))}
    shapes, counts = choose_shapes(lengths, budget, num_shapes, 2)
    assert sum(counts) == sum(lengths.values())

    top = tuple(max(side) for side in zip(*lengths, strict=True))
    cells = list(itertools.product(*(sorted(set(side)) for side in zip(*lengths, strict=True))))
    chains = [
        [*lower, top]
        for size in range(num_shapes)
        for lower in itertools.combinations(cells, size)
        if all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise([*lower, top])) and top not in lower
    ]
    best = min(positions(chain, lengths, budget, 2) for chain in chains)
    assert positions([shape[:2] for shape in shapes], lengths, budget, 2) == best
    epoch = [-(-pairs // rows) * rows * (a + b) for pairs, (a, b, rows) in zip(counts, shapes, strict=True)]
    assert sum(epoch) == best


@pytest.mark.parametrize("budget", [2560, 4096])
def test_captions_are_padded_by_less_than_an_eighth(budget):
    """Lengths like those of 29,000 image captions: around 15 pieces a side, a few of 40."""
    rng = np.random.default_rng(1)
    source = np.clip(np.rint(rng.gamma(12, 1.25, 29_000)), 4, 48).astype(int)
    target = np.clip(np.rint(source * rng.normal(1, 0.15, 29_000)), 4, 48).astype(int)
    shapes, counts = choose_shapes(Counter(zip(source.tolist(), target.tolist(), strict=True)), budget, 12, 8)
    padded = sum(-(-n // shape.rows) * shape.rows * shape.target for n, shape in zip(counts, shapes, strict=True))
    assert padded / target.sum() - 1 < 0.125


def test_many_different_lengths_still_reach_the_longest():
    lengths = {(a, b): 1 + a * b % 7 for a in range(2, 400, 3) for b in (a, a + 1)}
    shapes, counts = choose_shapes(lengths, 8192, 12, 8)
    assert shapes[-1][:2] == (398, 399)
    assert sum(counts) == sum(lengths.values())
    assert all(shape.rows * max(shape[:2]) <= 8192 for shape in shapes)
