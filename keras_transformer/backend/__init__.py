"""The only door to TensorFlow's kernels, XLA, devices and private parts of Keras."""
