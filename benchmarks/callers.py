"""Callers that share one translator."""

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from timing import timed


class Batcher:
    """Gathers the sentences of many callers into batches, as a server does.

    As soon as the translator is free, it takes all sentences that wait, up to `largest`. It does not wait for more.

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
                translations = self.translate([sentence for sentence, _ in items])
                for (_, future), translation in zip(items, translations, strict=True):
                    future.set_result(translation)
            except Exception as error:
                for _, future in items:
                    future.set_exception(error)


def throughput(translate, sentences, callers, largest=32):
    """Return the sentences a second of some callers. Each sends its next sentence when it has the last answer."""
    with Batcher(translate, largest) as batcher, ThreadPoolExecutor(callers) as pool:
        seconds, _ = timed(lambda: list(pool.map(batcher, sentences)))
    return len(sentences) / seconds
