"""The decoder one token at a time, over the layers that training uses."""
