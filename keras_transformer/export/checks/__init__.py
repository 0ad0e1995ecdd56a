"""The proof that an export runs where it will be served."""
