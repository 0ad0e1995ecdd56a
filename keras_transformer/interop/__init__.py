"""Weights from elsewhere, and to elsewhere: one module a toolkit."""
