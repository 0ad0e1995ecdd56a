"""A new version is written while the old one serves. The server never sees half of it, and every call is answered."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import serving_double
import tiny
from grpc_client import GrpcClient

from keras_transformer import Translator

SENTENCES = ["4", "3 1 4 1 5", "9 8", "1 2 3 4 5 6 7"]
BATCHING = serving_double.Batching(max_size=13)


def files(folder):
    return {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


class Watcher:
    """Looks at a model's folder all the time, as a server does now and then. It loads the version of the largest
    number, which replaces the old version. `sights` keeps the files of each version when it was first seen.
    """

    def __init__(self, double, base):
        self.double, self.base, self.sights, self.stop = double, base, {1: files(base / "1")}, threading.Event()

    def run(self):
        while not self.stop.wait(0.0005):
            newest = max(int(path.name) for path in self.base.iterdir() if path.name.isdecimal())
            if newest not in self.sights:
                self.sights[newest] = files(self.base / str(newest))
                self.double.models["digits"] = {newest: serving_double.Model(self.base / str(newest), BATCHING)}


def ask(client, stop):
    """Ask until `stop` is set. Return the answers without repetitions, in order."""
    answers = []
    while not stop.wait(0.02):
        answer = client.translate(SENTENCES)
        if answer not in answers[-1:]:
            answers.append(answer)
    return answers


def test_a_version_swap(digits_translator, digits_export, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    model = tiny.make_opinionated(5, vocabulary_size=digits_translator.tokenizer.vocabulary_size)
    newer = Translator(model, digits_translator.tokenizer, beam_size=2, max_extra_length=4)
    old, new = digits_translator(SENTENCES), newer(SENTENCES)
    assert old != new
    base = tmp_path / "digits"
    shutil.copytree(digits_export, base / "1")
    with serving_double.Double({"digits": {1: base / "1"}}, BATCHING) as double, ThreadPoolExecutor(4) as pool:
        watcher, done = Watcher(double, base), threading.Event()
        watching = pool.submit(watcher.run)
        clients = [GrpcClient(f"127.0.0.1:{double.grpc_port}", "digits", retries=0, timeout=120.0) for _ in range(3)]
        callers = [pool.submit(ask, client, done) for client in clients]
        try:
            serving_double.until(lambda: double.requests > 3)
            newer.export(base / "2", check=False)
            serving_double.until(lambda: 2 in double.models["digits"] or watching.done())
            asked = double.requests
            serving_double.until(lambda: double.requests > asked + 6 or any(caller.done() for caller in callers))
        finally:
            watcher.stop.set()
            done.set()
        watching.result()
        assert [caller.result() for caller in callers] == [[old, new]] * 3
    assert watcher.sights == {1: files(base / "1"), 2: files(base / "2")}
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]


def test_a_version_made_in_place_is_seen_too_early(digits_export, tmp_path):
    """This shows that the watcher above would notice a version that is written in place."""
    (tmp_path / "1").mkdir()
    watcher = Watcher(None, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watcher.run)
        (tmp_path / "2").mkdir()
        assert isinstance(watching.exception(), OSError)  # the loader finds no model there
    shutil.copytree(digits_export, tmp_path / "2", dirs_exist_ok=True)
    assert watcher.sights[2] != files(tmp_path / "2")
