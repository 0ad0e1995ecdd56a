"""Weights from other toolkits and for other toolkits, one module for each."""
