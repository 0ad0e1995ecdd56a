"""Callers that share one translator."""

import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor


class Batcher:
    """Gathers the sentences of many callers into batches, as a server does.

    Whenever the translator is free, it takes what waits, up to `largest` sentences; nobody is made to wait for more.

    Args:
        translate: a function from a list of sentences to their translations.
        largest: the most sentences of a batch.
    """

    def __init__(self, translate, largest=32):
        self.translate, self.largest, self.waiting = translate, largest, queue.Queue()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.waiting.put(None)
        self.thread.join()

    def __call__(self, sentence):
        future = Future()
        self.waiting.put((sentence, future))
        return future.result()

    def _run(self):
        while (item := self.waiting.get()) is not None:
            items = [item]
            while len(items) < self.largest and not self.waiting.empty():
                if (item := self.waiting.get()) is None:
                    self.waiting.put(None)
                    break
                items.append(item)
            try:
                for (_, future), text in zip(items, self.translate([sentence for sentence, _ in items]), strict=True):
                    future.set_result(text)
            except Exception as error:
                for _, future in items:
                    future.set_exception(error)


def timed(function, *arguments):
    """Seconds, and the result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def throughput(translate, sentences, callers, largest=32):
    """Sentences a second of so many callers, each of whom sends the next sentence when its last is answered."""
    with Batcher(translate, largest) as batcher, ThreadPoolExecutor(callers) as pool:
        seconds, _ = timed(lambda: list(pool.map(batcher, sentences)))
    return len(sentences) / seconds
