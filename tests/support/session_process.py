"""Answers calls to an export in a process in which Keras and this package cannot be imported.

    python tests/support/session_process.py EXPORT < CALLS

prints TensorFlow's version and the signatures as a line of JSON, and then the outputs of each call; a call is a line
[signature, inputs]. It needs TensorFlow and TensorFlow Text alone, of any version that reads the export.
"""

import json
import sys

FORBIDDEN = ("keras", "keras_transformer", "keras_hub", "keras_nlp", "tf_keras")


def readable(value):
    """An array as JSON can hold it."""
    if isinstance(value, bytes):
        return value.decode()
    return [readable(one) for one in value] if isinstance(value, list) else value


def main(path):
    sys.modules.update(dict.fromkeys(FORBIDDEN))  # TensorFlow itself imports Keras where it finds it
    import session_client

    session_client.load_text_ops()
    served = session_client.Served(path)
    print(json.dumps({"tensorflow": session_client.tf.__version__, "signatures": served.described()}))
    for line in sys.stdin:
        signature, inputs = json.loads(line)
        found = served(signature, **inputs)
        print(json.dumps({name: readable(array.tolist()) for name, array in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
