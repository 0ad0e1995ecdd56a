"""Train on several machines, with one process on each. TF_CONFIG names them."""

import contextlib
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transformer.files import json_text

EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}\', '
    "with another index on each machine"
)

WORDS_PER_REDUCTION = 2**22  # a word has 4 bytes


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """The strategy of `workers_strategy`. A batch of the dataset is the batch of all workers together.

    Every worker makes the same dataset and takes its own rows of each batch. So no row is read twice, all workers take
    the same number of steps, and the weights are those of one worker that trains on the whole batches.
    """

    shares_rows = True
    index, count = 0, 1  # this worker and the number of workers; `workers_strategy` sets them

    def experimental_distribute_dataset(self, dataset, options=None):
        return self.distribute_datasets_from_function(lambda context: worker_dataset(dataset, context), options)

    def reduce(self, reduce_op, value, axis):
        """Reduce as the base class does; scalars, for example logs, are averaged over the replicas."""
        if axis == 0 and all(local.shape.rank == 0 for local in self.experimental_local_results(value)):
            axis = None
        return super().reduce(reduce_op, value, axis)


def worker_dataset(dataset, context):
    """Return a dataset of the rows that one worker takes of each batch, an element for each of its replicas.

    Args:
        dataset: batches of all workers together, the same on each worker.
        context: a `tf.distribute.InputContext`.
    """
    replicas = context.num_replicas_in_sync
    local_replicas = replicas // context.num_input_pipelines
    first = local_replicas * context.input_pipeline_id

    def split(*batch):
        numbers = tf.data.Dataset.range(first, first + local_replicas)
        return numbers.map(
            lambda number: tf.nest.map_structure(lambda rows: replica_rows(rows, number, replicas), batch)
        )

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    steps = dataset.cardinality()
    elements = dataset.flat_map(split).with_options(options)
    if steps < 0:  # unknown or infinite
        return elements
    return elements.apply(tf.data.experimental.assert_cardinality(steps * local_replicas))


def replica_rows(rows, number, replicas):
    """Return the rows that replica `number` of all replicas takes: (B, ...) -> (B / replicas, ...)."""
    count = tf.shape(rows, tf.int64)[0]
    check = tf.debugging.Assert(
        count % replicas == 0, [f"the rows of each batch must be a multiple of the {replicas} replicas, got", count]
    )
    with tf.control_dependencies([check]):
        size = count // replicas
        return rows[number * size : (number + 1) * size]


def workers_strategy() -> Any:
    """Return the strategy that trains on all machines that TF_CONFIG names, with plain `fit`.

    Start the same program on each machine, with TF_CONFIG in its environment. Call this function before anything else
    uses TensorFlow. Create and compile the model in the strategy's `scope()`. Give `fit` the same dataset on each
    worker. Each worker takes its own rows of each batch, so the number of rows must be a multiple of the number of
    replicas (`parallel_corpus(..., rows_multiple=...)`). Use the same callbacks on all workers, because a worker that
    reads a metric waits for the others.

    When a worker dies or its machine stops answering, `fit` ends on all others with a RuntimeError that names it. This
    also holds for the first worker, which coordinates the others. It happens at once, or when TensorFlow has missed the
    worker's heartbeat for 10 seconds. Start the same program again on all machines, and it resumes from the states of
    `Checkpoint(..., corpus=...)`. A worker that starts first waits for the others.

    Example:
        The first lines of the program on each machine:

            from keras_transformer.training import workers_strategy

            strategy = workers_strategy()
            with strategy.scope():
                model = Transformer.from_preset("paper_base", vocabulary_size=tokenizer.vocabulary_size)
                model.compile(...)

    Raises:
        ValueError: TF_CONFIG is missing, cannot be parsed, or does not say which worker this is.
        RuntimeError: TensorFlow's devices are in use already.
    """
    index, addresses = read_config()
    try:
        strategy = Workers()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RuntimeError(
            "workers_strategy() must come before anything else uses TensorFlow. Call it in the first lines of the "
            "program: something has already created tensors or a model."
        ) from error
    Workers.index, Workers.count = index, len(addresses)
    return strategy


def read_config():
    """Return this worker's index and the addresses of all workers, from TF_CONFIG.

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


def broadcast(strategy, facts, arrays):
    """Send facts and arrays from the first worker to all workers. Every worker must call it.

    Args:
        strategy: a `Workers`.
        facts: anything that JSON can hold. Only the first worker's facts count.
        arrays: dict of names to arrays, or None. Only the first worker's arrays count.

    Returns:
        `facts` and `arrays` of the first worker, bit for bit.
    """
    kinds = None if arrays is None else {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    facts, kinds = json.loads(_broadcast_bytes(strategy, json_text([facts, kinds]).encode()))
    if kinds is None:
        return facts, None
    received = {}
    for name, (dtype, shape) in kinds.items():
        data = _broadcast_bytes(strategy, arrays[name].tobytes() if is_chief() else b"")
        received[name] = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    return facts, received


def _broadcast_bytes(strategy, data):
    """The first worker's `data` on all workers: a sum over all replicas, to which the other workers add zeros."""
    size = int(_broadcast_integers(strategy, np.array([len(data)], np.int64))[0])
    words = np.zeros(-(-size // 4), np.int32)
    if is_chief():
        words.view(np.uint8)[:size] = np.frombuffer(data, np.uint8)
    for start in range(0, len(words), WORDS_PER_REDUCTION):
        chunk = slice(start, start + WORDS_PER_REDUCTION)
        words[chunk] = _broadcast_integers(strategy, words[chunk])
    return words.tobytes()[:size]


def _broadcast_integers(strategy, values):
    """The integers [N] of the first replica, which belongs to the first worker, on all workers."""

    def on_replica():
        context = tf.distribute.get_replica_context()
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(is_first, values, tf.zeros_like(values)))

    return strategy.experimental_local_results(strategy.run(on_replica))[0].numpy()


def is_only_worker():
    """Return whether this process trains without others, and may read a metric at any time.

    That is so until `workers_strategy` is called. TF_CONFIG alone proves nothing: some platforms set it for programs of
    one process.
    """
    return Workers.count == 1


def strategy_scope(model):
    """Return the scope of the model's strategy, for code that creates or sets its variables. JAX has no strategies."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def is_chief() -> bool:
    """Return whether this process writes the files: it is the first worker, or there is no `workers_strategy`.

    Example:
        ```python
        from keras_transformer.training import is_chief

        if is_chief():
            print("only the first worker prints this")
        ```
    """
    return Workers.index == 0
