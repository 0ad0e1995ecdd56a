"""A translator as a SavedModel: its signatures and weights, its check, and the files around it."""
