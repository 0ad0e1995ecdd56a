"""The files that a server starts from."""
