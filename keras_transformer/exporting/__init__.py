"""A translator as a SavedModel: its signatures, and how its weights are kept."""
