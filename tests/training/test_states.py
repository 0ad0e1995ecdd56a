"""States keep any dtype, damage is found, and a full disk loses nothing."""

import keras
import numpy as np
import pytest
import tiny

from keras_transformer.training.states import read_state, write_state


def test_states_hold_any_dtype_and_are_checked(tmp_path):
    path = tmp_path / "state-7.npz"
    arrays = {"a/0": np.arange(6).reshape(2, 3), "b": keras.ops.convert_to_numpy(keras.ops.ones((3,), "bfloat16") / 3)}
    write_state(path, {"epoch": 2}, arrays)
    facts, found = read_state(path)
    assert facts == {"epoch": 2} and list(found) == ["a/0", "b"]
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes()
    assert list(read_state(path, lambda name: name == "b")[1]) == ["b"]
    data = bytearray(path.read_bytes())
    data[data.index(arrays["a/0"].tobytes()) + 8] ^= 1  # a bit of an array
    for damaged in (bytes(data), bytes(data[: len(data) // 2]), b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state-7\.npz is damaged, or no training state"):
            read_state(path)


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
import tiny
from keras_transformer.training.states import write_state
from keras_transformer.training import Checkpoint

state, folder = sys.argv[1:]
checkpoint = Checkpoint(folder, tiny.make_tokenizer(Path(folder).with_name("corpus")))
checkpoint.tokenizer_saved = True
checkpoint.set_model(tiny.make_random(d_model=128))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_state(state, {}, {"a": np.zeros(5000)})
for write in (lambda: write_state(state, {}, {"a": np.ones(50_000)}), lambda: checkpoint.on_epoch_end(0)):
    try:
        write()
    except OSError as error:
        print(error)
"""


def test_a_full_disk_ends_with_a_clear_error_and_loses_nothing(tmp_path):
    """A limit on the size of files acts as a full disk."""
    path, model = tmp_path / "states" / "step-000000001.npz", tmp_path / "run" / "model.keras"
    result = tiny.python("-c", LIMITED, path, model.parent)
    assert result.returncode == 0, result.stderr
    for line, output in zip(result.stdout.splitlines(), (path, model), strict=True):
        assert line.startswith("[Errno 27] File too large: ")
        assert f"writing {output} failed" in line and "MiB are free. What was written before is intact." in line
    assert (read_state(path)[1]["a"] == np.zeros(5000)).all()
    assert list(path.parent.iterdir()) == [path] and not model.exists()
