"""Several machines, one process each, named by TF_CONFIG: the strategy that trains them as one."""

import contextlib
import json
import os

import numpy as np
import tensorflow as tf

EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}\', '
    "with another index on each machine"
)

WORDS_AT_ONCE = 2**22  # of 4 bytes, that one reduction carries


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """The strategy of `workers_strategy`: each batch of a dataset is the batch of all workers together.

    Every worker makes the same dataset and takes its own rows of each batch, so that no row is read
    twice, all see the same number of steps, and they end with the weights of one worker with the whole
    batches.
    """

    shares_rows = True
    index, count = 0, 1  # of this process and of all, until `workers_strategy` makes it one of several

    def experimental_distribute_dataset(self, dataset, options=None):
        return self.distribute_datasets_from_function(lambda context: share_of_worker(dataset, context), options)

    def reduce(self, reduce_op, value, axis):
        """As in the class above; the mean of scalars, such as logs, is that over the replicas."""
        if axis == 0 and all(local.shape.rank == 0 for local in self.experimental_local_results(value)):
            axis = None
        return super().reduce(reduce_op, value, axis)


def share_of_worker(dataset, context):
    """The rows that a worker's replicas take of each batch of `dataset`, for one replica after the other.

    Args:
        dataset: batches of all workers together, the same on each.
        context: a `tf.distribute.InputContext`.
    """
    replicas = context.num_replicas_in_sync
    here = replicas // context.num_input_pipelines
    first = here * context.input_pipeline_id

    def of_replicas(*batch):
        parts = tf.data.Dataset.range(first, first + here)
        return parts.map(lambda part: tf.nest.map_structure(lambda rows: share(rows, part, replicas), batch))

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    steps = dataset.cardinality()
    shared = dataset.flat_map(of_replicas).with_options(options)
    return shared.apply(tf.data.experimental.assert_cardinality(steps * here)) if steps >= 0 else shared


def share(rows, part, parts):
    """The rows (B, ...) that one of `parts` replicas takes: (B / parts, ...)."""
    count = tf.shape(rows, tf.int64)[0]
    check = tf.debugging.Assert(
        count % parts == 0, [f"the rows of each batch must be a multiple of the {parts} replicas, got", count]
    )
    with tf.control_dependencies([check]):
        size = count // parts
        return rows[part * size : (part + 1) * size]


def workers_strategy():
    """The strategy that trains on all machines that TF_CONFIG names, with plain `fit`.

    Start the same program on each machine, with TF_CONFIG in its environment, and call this before
    anything else uses TensorFlow; make and compile the model in the strategy's `scope()`. Each worker
    gives `fit` the same dataset and takes its own rows of each batch, which must be a multiple of the
    number of replicas (`parallel_corpus(..., rows_multiple=...)`). Callbacks must be the same on all
    workers, as reading a metric waits for the others.

    When a worker dies or its machine stands still, be it the first, which coordinates, `fit` ends on all
    others with a RuntimeError that names it: at once, or when TensorFlow has missed its heartbeat for 10
    seconds. Started again on all, the same program goes on where `Checkpoint(..., corpus=...)` left off.
    A worker that starts alone waits for the others.

    Raises:
        ValueError: a TF_CONFIG that is missing, cannot be parsed, or does not say who this worker is.
        RuntimeError: TensorFlow's devices are in use already.
    """
    index, addresses = read_config()
    try:
        strategy = Workers()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RuntimeError(
            "workers_strategy() must come before anything else uses TensorFlow, in the first lines of the program: "
            "something has made tensors or a model already."
        ) from error
    Workers.index, Workers.count = index, len(addresses)
    return strategy


def read_config():
    """This worker's index, and the addresses of all, from TF_CONFIG.

    Raises:
        ValueError: see `workers_strategy`.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise ValueError(f"TF_CONFIG is not set. It says which machines train together: {EXAMPLE}.")
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        kind, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"TF_CONFIG={text!r} cannot be read: {error!r}. It should look like {EXAMPLE}.") from error
    if kind != "worker" or not isinstance(workers, list) or not 0 <= index < len(workers):
        raise ValueError(
            f"TF_CONFIG={text!r}: task must be of type 'worker' with an index into cluster.worker, got {kind!r} "
            f"{index} of {workers!r}."
        )
    return index, workers


def of_the_first_worker(strategy, facts, arrays):
    """The facts and arrays that the first worker gives, on all of them. Every worker must call it.

    Args:
        strategy: a `Workers`.
        facts: what JSON can hold. Those of the other workers are not looked at.
        arrays: dict of names to arrays, or None; likewise.

    Returns:
        `facts`, `arrays` of the first worker, bit for bit.
    """
    kinds = None if arrays is None else {name: (each.dtype.name, each.shape) for name, each in arrays.items()}
    facts, kinds = json.loads(_sent(strategy, json.dumps([facts, kinds]).encode()))
    if kinds is None:
        return facts, None
    received = {}
    for name, (dtype, shape) in kinds.items():
        data = _sent(strategy, arrays[name].tobytes() if is_chief() else b"")
        received[name] = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    return facts, received


def _sent(strategy, data):
    """The bytes `data` of the first worker: a sum over all replicas, to which the others add zeros."""
    size = int(_of_the_first_replica(strategy, np.array([len(data)], np.int64))[0])
    words = np.zeros(-(-size // 4), np.int32)
    if is_chief():
        words.view(np.uint8)[:size] = np.frombuffer(data, np.uint8)
    for start in range(0, len(words), WORDS_AT_ONCE):
        piece = slice(start, start + WORDS_AT_ONCE)
        words[piece] = _of_the_first_replica(strategy, words[piece])
    return words.tobytes()[:size]


def _of_the_first_replica(strategy, values):
    """Whole numbers [N] of the first replica of all, which is the first worker's."""

    def on_each():
        context = tf.distribute.get_replica_context()
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(is_first, values, tf.zeros_like(values)))

    return strategy.experimental_local_results(strategy.run(on_each))[0].numpy()


def is_alone():
    """Whether this process trains without others, so that it may read a metric when it likes.

    It does until `workers_strategy` is called: a TF_CONFIG by itself may be that of a platform that runs one process.
    """
    return Workers.count == 1


def scope_of(model):
    """The scope of a model's strategy, in which its variables are made and set; on JAX there is none."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def is_chief():
    """Whether this process is the one that writes files: the first worker of `workers_strategy`, or one without it."""
    return Workers.index == 0
