"""Checks that an export runs on a stock TensorFlow Serving."""
