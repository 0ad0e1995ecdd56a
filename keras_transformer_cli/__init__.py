"""The command `keras-transformer`.

It is a package of its own, beside `keras_transformer`. Importing `keras_transformer` starts TensorFlow, which takes
seconds and prints notes. So `--help`, completion and wrong options are answered before that import.
"""
