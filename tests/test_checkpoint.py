"""The folder of a `Checkpoint`: whose it is, and what is refused before training and not after it."""

import fcntl
import gc

import keras
import pytest
import tiny

from keras_transformer import parallel_corpus
from keras_transformer.training import Checkpoint
from keras_transformer.training.lock import LOCK_FILE


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


class Scripted(keras.Model):
    """In a Checkpoint's hands: writes its name instead of a model."""

    def save(self, path):
        with open(path, "w") as stream:
            stream.write(self.name)


def begun(checkpoint):
    """The `checkpoint`, at the start of a `fit`."""
    checkpoint.set_model(Scripted(name="model"))
    checkpoint.on_train_begin()
    return checkpoint


def is_free(folder):
    """Whether another process may train there: a file that is opened twice stands for two processes."""
    with open(folder / LOCK_FILE, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_folder_in_which_another_process_trains_is_refused_and_stays_as_it_is(tokenizer, tmp_path):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path / "corpus", tiny.digit_pairs(9)), tokenizer)
    folder = tmp_path / "run"
    half_written = folder / ".model.keras.abcdefgh"
    half_written.mkdir(parents=True)
    with open(folder / LOCK_FILE, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for options in ({}, {"corpus": corpus}):
            with pytest.raises(BlockingIOError, match=rf"another process is training in {folder}, or"):
                begun(Checkpoint(folder, tokenizer, **options))
        assert half_written.exists() and (folder / LOCK_FILE).exists()
    begun(Checkpoint(folder, tokenizer)).on_train_end()
    assert not (folder / LOCK_FILE).exists()


def test_a_fit_that_raised_holds_the_folder_against_other_processes_alone(tokenizer, tmp_path):
    """`fit` that raises ends without `on_train_end`."""
    raised = begun(Checkpoint(tmp_path, tokenizer))
    assert not is_free(tmp_path)
    begun(raised)
    another = begun(Checkpoint(tmp_path / "." / "", tokenizer))
    raised.on_train_end()  # too late to let others in
    assert not is_free(tmp_path)
    del another
    gc.collect()
    assert is_free(tmp_path)
