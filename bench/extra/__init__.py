"""Measurements that the grid does not hold, one file each; extras.py runs them.

Each file has one function, `measure(cell, effort)`, that yields what it found.
"""
