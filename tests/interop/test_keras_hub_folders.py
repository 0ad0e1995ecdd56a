"""Folders that are no presets of keras-hub."""

import re

import pytest

from keras_transformer.interop import keras_hub as ours


def test_a_folder_that_is_no_preset_is_named(tmp_path):
    for path, error, message in (
        (None, TypeError, "preset must be a path, a str or a pathlib.Path, got None."),
        (tmp_path / "no", FileNotFoundError, f"preset={str(tmp_path / 'no')!r} does not exist."),
        (
            tmp_path,
            FileNotFoundError,
            f"preset={str(tmp_path)!r} holds no task.json. Give a folder that",
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            ours.load(path)
