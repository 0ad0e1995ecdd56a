"""One measurement, one process: no other contender's threads wait for work beside it."""

import json
import os
import subprocess
import sys


def in_a_process(script, *arguments, python=sys.executable, **environment):
    """What `script --worker ARGUMENTS` prints last, both as JSON.

    Args:
        python: the interpreter.
        **environment: variables to set besides.

    Raises:
        RuntimeError: the process failed; the message ends with what it wrote.
    """
    usual = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    environment = {**os.environ, **usual, **environment}
    command = [python, script, "--worker", json.dumps(arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{arguments} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])
