"""From a SavedModel just written to an export that can be deployed: its checks, and what belongs beside its graph."""

from keras_transformer.exporting.card import write_card
from keras_transformer.exporting.saved_model import read_saved_model
from keras_transformer.exporting.served_ops import require_served
from keras_transformer.exporting.server_protos import prediction_log
from keras_transformer.exporting.serving_files import check_serving_files, name_and_version, write_serving_files
from keras_transformer.exporting.verify import verify
from keras_transformer.exporting.warmup import write_warmup

WARMUP_BATCH = 8


def require_servable(path):
    """What must hold for serving files, and can be known before the model is written.

    Raises:
        ValueError: a path that a server would not see; it needs `<name>/<number>`.
        ImportError: tensorflow-serving-api is not installed.
    """
    name_and_version(path)
    prediction_log()


def finish(beside, path, facts, batching=None):
    """Check a SavedModel and write what belongs to it; nothing stands at `path` yet.

    Args:
        beside: the folder that holds the SavedModel, and will be moved to `path`.
        path: where it will stand.
        facts: `card.ExportFacts`.
        batching: `serving_files.Batching` to write a server's files and warm-up records too, or None.

    Returns:
        Two lists of paths: the serving files that were written beside `path`, and those kept.

    Raises:
        RuntimeError: it does not run, or translates otherwise, in a process without Keras.
        ValueError: an op that a stock server lacks; or, for a server, a path it does not see, or files beside
            `path` that do not fit.
        ImportError: tensorflow-serving-api is not installed and `batching` given.
    """
    contents = read_saved_model(beside)
    require_served(contents)
    if batching is not None:
        require_servable(path)
        check_serving_files(path, contents.signatures, batching)
    verify(beside, facts.sentences, facts.translations, facts.scores)
    if batching is not None:
        sizes = sorted({1, min(WARMUP_BATCH, batching.max_batch_size)})
        write_warmup(beside, facts.sentences, sizes, facts.translations)
    write_card(beside, contents, path, facts, batching)
    return ([], []) if batching is None else write_serving_files(path, contents.signatures, batching)
