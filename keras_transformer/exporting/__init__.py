"""What surrounds an exported graph: its check, and the files that a server and its users read."""
