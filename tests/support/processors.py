"""The abilities of this machine's processor."""

from pathlib import Path

import keras
import pytest

CPU = Path("/proc/cpuinfo")
no_vnni = keras.backend.backend() == "tensorflow" and not (CPU.exists() and "vnni" in CPU.read_text())
needs_vnni = pytest.mark.skipif(no_vnni, reason="integers are exact only with VNNI")
