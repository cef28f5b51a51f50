"""Measurements that the grid does not hold, by files; extras.py runs them.

Each file names the DIRECTIONS in which it measures, and has one function,
`measure(cell, direction, effort)`, that yields what it found; contrasts.py has a table of such.
"""
