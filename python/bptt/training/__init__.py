"""A step, truncated windows, and `fit`, which runs through epochs."""
