"""Errors of TensorFlow in a training step, in one line each."""

import contextlib
import re

import tensorflow as tf

SPLIT = "rows_by_accumulate_steps"  # the name of a scope, which XLA's errors repeat


@contextlib.contextmanager
def clear_errors(model):
    """A block whose known errors of TensorFlow become errors of one line."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        rows = re.search(r"must divide the rows .*, got\] \[(\d+)\]", error.message)
        if rows is None and SPLIT not in error.message:
            raise
        raise ValueError(
            f"accumulate_steps={model.accumulate_steps} must divide the rows of each replica's batch"
            + ("." if rows is None else f", got {rows[1]} rows.")
        ) from error
    except tf.errors.OpError as error:
        if not re.search(r"Collective ops is aborted|unhealthy|heartbeat", error.message):
            raise
        lost = lost_workers(error.message)
        names = " and ".join(map(" ".join, lost)) or "another worker"
        raise RuntimeError(
            f"Training has ended: {names} of TF_CONFIG no longer answers. Look there for the cause, then start the "
            "same command on all workers again. Training resumes from the last state, if Checkpoint writes states."
        ) from error


def lost_workers(message):
    """The workers that TensorFlow's error about a collective names, such as ("worker", "1")."""
    task = r"/job:(\w+)/replica:0/task:(\d+)"
    lost = re.findall(task, message.partition("unhealthy")[2])
    lost += re.findall(f"(?:remote target|in-error task:) {task}", message)
    if not lost and "RPC: /tensorflow.CoordinationService/" in message:  # which the first worker runs
        lost = [("worker", "0")]
    return sorted(set(lost))
