"""What an export serves: its signatures, its weights, and how they are stored."""
