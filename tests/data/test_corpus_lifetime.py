"""A corpus lives as long as its dataset, or a dataset made from it, and no longer."""

import gc
import weakref

import pytest
import tensorflow as tf
import tiny
from characters import Characters, files, random_pairs, same

from keras_transformer.data import parallel_corpus
from keras_transformer.training import StopOnNaN


def make(folder):
    return parallel_corpus(*files(folder, random_pairs(60)), Characters(), tokens_per_batch=100, shuffle=False)


@pytest.mark.parametrize("read", [False, True])
def test_it_goes_with_its_dataset(tmp_path, read):
    corpus = make(tmp_path)
    if read:
        assert len(list(corpus)) == corpus.report.batches
    store = weakref.ref(corpus.pairs.store)
    del corpus
    gc.collect()
    assert store() is None


DERIVED = {
    "iterator": iter,
    "repeated": lambda corpus: corpus.repeat(2).take(corpus.report.batches),
    "mapped": lambda corpus: corpus.map(lambda inputs, labels: (inputs, labels)).prefetch(2),
    "cached": lambda corpus: corpus.cache(),
    "watched": lambda corpus: StopOnNaN().watch(corpus),
    "zipped": lambda corpus: tf.data.Dataset.zip(corpus, corpus).map(lambda first, second: second),
}


@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
def test_it_stays_with_a_dataset_made_from_it(tmp_path, derive):
    expected = list(make(tmp_path))
    derived = derive(make(tmp_path))
    gc.collect()
    assert same(list(derived), expected)


def test_it_stays_with_a_distributed_dataset(tmp_path):
    expected = make(tmp_path).report.batches
    shared = tiny.two_replicas().experimental_distribute_dataset(make(tmp_path))
    gc.collect()
    assert len(list(shared)) == expected
    batches = iter(tiny.two_replicas().experimental_distribute_dataset(make(tmp_path)))
    gc.collect()
    assert len(list(batches)) == expected
