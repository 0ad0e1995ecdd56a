"""The files that TensorFlow Serving starts from, and its warm-up requests."""
