"""References in sacreBLEU's layout."""

from itertools import zip_longest

from keras_transformer.inputs.kinds import check_iterable, read_sentences, shown


def reference_streams(references, count, of):
    """References in sacreBLEU's layout: a list for the first reference of each translation, one for the second, ….

    Args:
        references: in one of the three forms that `evaluate` takes.
        count: how many translations there are.
        of: what there are `count` of, for messages.

    Raises:
        TypeError, ValueError: see `evaluate`.
    """
    check_iterable("references", references)
    references = list(references)
    has_lists = bool(references) and isinstance(references[0], list | tuple)
    if not has_lists:
        references = read_sentences("references", references)
    lists = [_read_references(number, entry) for number, entry in enumerate(references)] if has_lists else []
    is_by_stream = has_lists and all(len(entry) == count for entry in lists)
    if is_by_stream and len(lists) == count > 1:
        raise ValueError(
            f"references has {count} lists of {count} strings for {count} {of}: a list may hold the references of one "
            "translation, or one reference of each. Add None (no reference) to the first list to mean those of one "
            f"translation, or add a list of {count} None to mean one reference of each."
        )
    if is_by_stream:
        streams = lists
    elif len(references) != count or not references:
        raise ValueError(
            f"{of} and references must have the same length, at least 1; got {count} and {len(references)}."
        )
    else:
        streams = [list(stream) for stream in zip_longest(*lists)] or [[None] * count] if has_lists else [references]
    for number, row in enumerate(zip(*streams, strict=True)):
        if all(reference is None for reference in row):
            raise ValueError(f"references has none for number {number} of the {of}.")
    return streams


def _read_references(number, entry):
    """One of several lists of references, whose items are strings or None."""
    if not isinstance(entry, list | tuple):
        raise TypeError(f"references[{number}] must be a list of strings as those before it, got {shown(entry)}.")
    for place, reference in enumerate(entry):
        if reference is not None and not isinstance(reference, str):
            raise TypeError(f"references[{number}][{place}] must be a string, got {shown(reference)}.")
    return list(entry)
