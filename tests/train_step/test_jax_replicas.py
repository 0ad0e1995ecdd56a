"""On JAX, `DataParallel` over two devices and micro-batches train like one device with the whole batch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from xla_flags import QUICK_TO_COMPILE

SUPPORT = Path(__file__).parents[1] / "support"


def test_two_jax_devices_train_like_one():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[jax]'")
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=2 {QUICK_TO_COMPILE}",
        "PYTHONPATH": tiny.PYTHONPATH,
    }
    result = subprocess.run(
        [sys.executable, SUPPORT / "jax_devices.py"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.split() == ["2", "devices", "agree"]
