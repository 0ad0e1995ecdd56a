"""The graph of an export: its signatures, its weights and how the folder stores them."""
