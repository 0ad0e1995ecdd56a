"""Answers calls to an export in a process that cannot import Keras or this package.

    python tests/support/session_process.py EXPORT... < CALLS

Each line of CALLS is JSON: [signature, inputs], for each export the same number of lines, one export after another. For
each export, the first line of the output is JSON with TensorFlow's version and the signatures. One line with the
outputs of each call follows. The process needs only TensorFlow and TensorFlow Text, in
any versions that read the export.
"""

import gc
import json
import sys

gc.disable()  # the process is short
FORBIDDEN = ("keras", "keras_transformer", "keras_hub", "keras_nlp", "tf_keras")


def to_json(value):
    """A nested list with strings in place of bytes."""
    if isinstance(value, bytes):
        return value.decode()
    return [to_json(entry) for entry in value] if isinstance(value, list) else value


def main(*paths):
    sys.modules.update(dict.fromkeys(FORBIDDEN))  # TensorFlow imports Keras if it can
    import session_client

    session_client.load_text_ops()
    calls = [json.loads(line) for line in sys.stdin]
    count = len(calls) // len(paths)
    for index, path in enumerate(paths):
        served = session_client.Served(path)
        print(json.dumps({"tensorflow": session_client.tf.__version__, "signatures": served.described()}))
        for signature, inputs in calls[index * count : (index + 1) * count]:
            outputs = served(signature, **inputs)
            print(json.dumps({name: to_json(array.tolist()) for name, array in outputs.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
