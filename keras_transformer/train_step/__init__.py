"""What one step of `fit` computes."""
