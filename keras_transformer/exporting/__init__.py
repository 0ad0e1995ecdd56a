"""A translator as a SavedModel: its signatures and weights, its check, and the files that a server and users read."""
