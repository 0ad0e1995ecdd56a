"""Epochs of a corpus: each has its own order, can begin at any batch, and takes corpora by their weights."""

import errno
import itertools
import logging
from collections import Counter

import keras
import pytest
import tensorflow as tf
import tiny
from characters import Characters, files, pairs_of, random_pairs, same

from keras_transformer.data import parallel_corpus


def test_a_pass_begins_at_any_batch_of_any_epoch(tmp_path):
    paths = files(tmp_path, random_pairs(150))
    make = lambda **start: parallel_corpus(*paths, Characters(), tokens_per_batch=200, num_shapes=3, seed=4, **start)  # noqa: E731
    dataset = make()
    count = dataset.report.batches
    epochs = [list(dataset) for _ in range(3)]
    assert (dataset.position.epoch, dataset.position.batch) == (3, 0)
    assert same(list(make(start=(1, 0))), epochs[1])
    inside = make(start=(1, 5))
    assert len(inside) == count
    assert same(list(inside), epochs[1][5:] + epochs[2][:5])
    dataset.position.move_to(2)
    assert same(list(dataset), epochs[2])
    dataset.position.move_to(0, count - 1)
    assert same(list(dataset.take(1)), epochs[0][-1:])
    with pytest.raises(ValueError, match=rf"start=\(3, {count}\) is beyond the epoch: .* 0\.\.{count - 1}\."):
        make(start=(3, count))
    assert same(list(dataset), epochs[0][-1:] + epochs[1][:-1]), "a pass that is not read to its end moves nothing"


def test_fit_sees_an_epoch_a_pass_on_one_device_and_on_two(tmp_path):
    """Keras makes iterators that it throws away, and takes a first batch to build the model. Both change nothing."""
    paths = files(tmp_path, [(chr(97 + a) * b, chr(97 + b) * a) for a in range(1, 13) for b in range(1, 13)])
    make = lambda: parallel_corpus(*paths, Characters(), tokens_per_batch=96, num_shapes=2, seed=4)  # noqa: E731
    dataset = make()
    expected = [[float(labels.numpy().sum()) for _, labels in dataset] for _ in range(3)]

    class Sums(keras.Model):
        def __init__(self):
            super().__init__()
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def build(self, shape):
            pass

        def call(self, inputs):
            return inputs["target"]

        def train_step(self, data):
            total = tf.reduce_sum(data[1])
            return {"labels": total if tf.distribute.get_replica_context().num_replicas_in_sync == 1 else 2 * total}

    class Record(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.sums = []

        def on_train_batch_end(self, batch, logs=None):
            self.sums.append(float(logs["labels"]))

    for strategy in (tf.distribute.get_strategy(), tiny.two_replicas()):
        with strategy.scope():
            model = Sums()
            model.compile("sgd", "mse")
        record = Record()
        model.fit(make(), epochs=3, shuffle=False, verbose=0, callbacks=[record])
        assert record.sums == [*itertools.chain(*expected)], strategy


def test_corpora_come_by_their_weights(tmp_path, caplog):
    """An epoch takes the first corpus three times, the second once, a third of the last. The report counts so too."""
    corpora = [[(f"{name}{'x' * (i % 3)}", chr(200 + i) * 2) for i in range(9)] for name in "abc"]
    paths = [files(tmp_path, pairs, (f"{i}.s", f"{i}.t")) for i, pairs in enumerate(corpora)]
    with caplog.at_level(logging.INFO, "keras_transformer"):
        dataset = parallel_corpus(*zip(*paths, strict=True), Characters(), weights=[3, 1, 1 / 3], num_shapes=3)
    report = dataset.report
    assert [(share.kept, share.weight, share.pairs_an_epoch) for share in report.corpora] == [
        (9, 3.0, 27),
        (9, 1.0, 9),
        (9, 1 / 3, 3),
    ]
    assert (report.pairs, report.kept) == (27, 27)
    assert report.target_tokens == (27 + 9 + 3) * 3
    assert report.source_tokens == (27 + 9 + 3) * 3  # ids are 1, 2 and 3 long, equally often in each, and END
    assert "2.s: 9 of 9 pairs kept; weight 0.333333, 3 pairs an epoch" in caplog.text
    epochs = [Counter(pair for batch in dataset for pair in pairs_of(batch)) for _ in range(3)]
    for epoch in epochs:
        assert [epoch[pair] for pair in corpora[0] + corpora[1]] == [3] * 9 + [1] * 9
        assert epoch.total() == 39
    assert [sum(epoch[pair] for epoch in epochs) for pair in corpora[2]] == [1] * 9


def test_a_corpus_without_a_kept_pair_is_reported(tmp_path):
    good, bad = (files(tmp_path, pairs, names) for pairs, names in (([("a", "b")], "ab"), ([("", "b")] * 2, "cd")))
    report = parallel_corpus(*zip(good, bad, strict=True), Characters()).report
    assert [(share.pairs, share.kept, share.pairs_an_epoch) for share in report.corpora] == [(1, 1, 1), (2, 0, 0)]


def test_a_fingerprint_depends_on_data_and_order(tmp_path):
    pairs = random_pairs(20)
    paths = files(tmp_path, pairs)
    make = lambda paths=paths, **options: parallel_corpus(*paths, Characters(), **options).fingerprint  # noqa: E731
    assert make() == make(files(tmp_path, pairs, ("copy.gz", "copy")), seed=0)
    for options in ({"seed": 1}, {"shuffle": False}, {"tokens_per_batch": 999}, {"weights": [2]}):
        changed = make(**options)
        assert [key for key, value in make().items() if changed[key] != value] == list(options)
    others = files(tmp_path, [*pairs[:-1], ("a", "b")], ("o.s", "o.t"))
    assert make(others)["lines"] != make()["lines"]


def test_an_error_of_a_full_disk_names_the_folder_and_how_to_choose_another(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OSError, match=r"No space left .*: writing .* failed; [\d,.]+ MiB are free\. TMPDIR names"):
        parallel_corpus(*files(tmp_path, random_pairs(5)), Characters())
