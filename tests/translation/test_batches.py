"""Batches at the same time: their results come in order, and no batch begins after a failure."""

import threading

import pytest

from keras_transformer.translation.batches import at_the_same_time


def test_results_come_in_order_from_several_at_the_same_time():
    both = threading.Barrier(2, timeout=30)  # would break if one waited for the other to end

    def work(item):
        both.wait()
        return -item

    assert list(at_the_same_time(work, range(6), 2)) == [(i, -i) for i in range(6)]


def test_one_worker_is_the_caller():
    assert list(at_the_same_time(lambda _: threading.get_ident(), range(2), 1)) == [
        (i, threading.get_ident()) for i in range(2)
    ]


def test_nothing_begins_after_a_failure():
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ValueError("item 1 is wrong")

    with pytest.raises(ValueError, match="item 1 is wrong"):
        list(at_the_same_time(work, iter(range(1000)), 2))
    assert len(begun) <= 1 + 2 * 2  # the failed batch, and those that were asked for by then


def test_a_reader_that_stops_ends_the_work():
    begun = []
    results = at_the_same_time(lambda item: begun.append(item), iter(range(1000)), 3)
    assert next(results)[0] == 0
    results.close()
    assert len(begun) <= 4
