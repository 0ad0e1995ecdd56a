"""Whether a training fits the memory, before its first step."""

from keras_transformer_cli.devices import device_memory

GIB = 2**30


def check_memory(arguments, settings, shapes, available=None):
    """Refuse a training that needs more memory than there is.

    The need is counted on paper, and so is the least: buffers and fragments come on top.

    Args:
        arguments: {name: value} of `Transformer`, with `vocabulary_size`.
        settings: of the run.
        shapes: (source length, target length, rows) of each kind of batch.
        available: bytes; None takes those of the device that Keras trains on, and checks nothing if it does not say.

    Raises:
        ValueError: the memory is too small. The message names both numbers and what to change.
    """
    from keras_transformer.presets import training_costs

    available = available or device_memory()
    parts, half = settings["accumulate_steps"], settings["precision"] != "float32"
    costs = max(
        (
            training_costs(arguments, sentences=rows / parts, source_length=source, target_length=target)
            for source, target, rows in shapes
        ),
        key=lambda each: each.bytes,
    )
    batch = costs.activation_bytes // 2 if half else costs.activation_bytes
    needed = costs.weight_bytes + batch
    if available is None or needed <= available:
        return
    remedy = "a smaller --preset or --vocabulary-size"
    if costs.weight_bytes < available:
        parts = -(-batch * parts // (available - costs.weight_bytes))
        remedy = f"a smaller --preset, fewer --tokens-per-batch, or --accumulate-steps {parts} or more"
    raise ValueError(
        f"preset={settings['preset']} with tokens_per_batch={settings['tokens_per_batch']} needs at least "
        f"{needed / GIB:.1f} GiB of memory: {costs.weight_bytes / GIB:.1f} for {costs.parameters:,} parameters with "
        f"their gradients and Adam's means, {batch / GIB:.1f} for a batch. The device has {available / GIB:.1f} GiB. "
        f"Give {remedy}."
    )
