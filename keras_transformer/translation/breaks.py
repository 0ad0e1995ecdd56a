"""What a user is told when the translation of a file breaks off."""

import functools
import logging
from pathlib import Path

from keras_transformer.files import explained_disk_errors
from keras_transformer.inputs.paths import check_source, check_target

logger = logging.getLogger("keras_transformer")


def explained(translate):
    """A function like `translate_file` that checks its two paths first, and says how to go on when it breaks off.

    Args:
        translate: a function whose first arguments are a translator, `source_path` and `target_path`.
    """

    @functools.wraps(translate)
    def wrapped(translator, source_path, target_path, *args, **kwargs):
        check_source(source_path, argument="source_path")
        check_target(target_path, "file", "target_path")
        part = Path(f"{target_path}.part")
        advice = "The lines that are finished stay there. When this is mended, the same call goes on after them."
        try:
            with explained_disk_errors(part, advice):
                return translate(translator, source_path, target_path, *args, **kwargs)
        except KeyboardInterrupt:
            logger.warning("The translation was interrupted. %s", _how_to_go_on(part))
            raise

    return wrapped


def _how_to_go_on(part):
    if not part.exists():
        return "Nothing was written. Make the same call again."
    with open(part, "rb") as stream:
        lines = sum(1 for _ in stream)
    return f"{part} holds {lines:,} finished lines. The same call goes on after them."
