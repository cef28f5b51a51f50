"""What the docstrings of the functions of all cells have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

_SHARED = {
    "inputs": """
x : array_like, shape (T, N, I)
    Inputs, time first. T, N and I may be 0.
w_ih : array, float32 or float64, shape (G*H, I)
    Weights of the input. Their dtype is that of the whole call.
w_hh : array_like, shape (G*H, H)
    Weights of the state.
b_ih, b_hh : array_like, shape (G*H,), optional
    Biases of the two products, zero by default.
h_0 : array_like, shape (N, H), optional
    State h before the first step, zero by default.
""",
    "options": """
lengths : array_like of int, shape (N,), optional
    Number of steps of each sequence, from 0 to T in any order; T by default. What x holds past a
    sequence's end, NaN included, reaches nothing, and y is 0 there.
reverse : bool, default False
    Run each sequence from its own end to t = 0.
training : bool, default False
    Keep what the backward pass needs in `cache`.
checkpoint_every : int, optional
    k, with `training` only: keep no more than the state before every k-th step, from which the
    backward function computes the rest again, k steps at a time (Chen et al., 2016,
    arXiv:1604.06174). Gradients are the same, bit for bit. The cache shrinks from O(T) to O(T/k);
    the backward function takes O(k) while it runs, and the time of one more forward pass.
    `functional` rounds k up to a multiple of max(1, 64 // N).
out : ndarray, shape (T, N, H), optional
    y is written here and returned as y. Must have the dtype of w_ih, be writeable and aligned and
    have a contiguous last axis; its other strides are free.
""",
    "y": """
y : array, shape (T, N, H)
    h after each step.
h_n : array, shape (N, H)
    h after the last step taken (t = length-1, in reverse t = 0); h_0 where the length is 0.
""",
    "cache": """
cache : Cache or None
    For the backward function of the same name; None unless `training`.
""",
    "raises": """
Raises
------
TypeError
    An argument has a type or dtype it must not have; the message opens with its name. Python
    numbers, lists, bool and integer arrays are converted to the dtype of w_ih, arrays of another
    float dtype are not.
ValueError
    An argument has a shape or value it must not have; the message opens with its name.
MemoryError
    The result does not fit into memory.
""",
    "warning": """
Warnings
--------
The cache refers to x, the weights and the biases and need not copy them: changing them before the
last backward call that uses it gives wrong gradients, and is the caller's error.
""",
    "backward": """
The cache is not changed: the function may be called again on it. x and the weights of the forward
call must not have been changed in between.

Parameters
----------
cache : Cache
    What the forward function of the same name returned with ``training=True``.
dy : array_like, shape (T, N, H), optional
    Gradient of y, zero by default. What it holds past a sequence's end reaches nothing.
dh_n : array_like, shape (N, H), optional
    Gradient of h_n, zero by default.
""",
    "wrt": """
wrt : tuple, list, set or frozenset of str, optional
    Names of the gradients to compute; the others are None. By default those of all arguments.
    h is only computed if named.
""",
    "gradients": """
    One gradient an array argument of the forward function, named like it and of its shape, also
    where the argument was not given; None where `wrt` leaves it out. x is 0 past a sequence's end.
    The last field, h, of shape (T, N, H), is the total gradient of the state h after each step, by
    time t like y: dy[t], and what comes back through the steps taken after it (where that is the
    last, dh_n). It is 0 past a sequence's end, too.

Raises
------
TypeError
    `cache` is not of the forward function of the same name and module, or another argument has a
    type or dtype it must not have; the message opens with its name.
ValueError
    An argument has a shape or value it must not have; the message opens with its name.
""",
    "werbos": """
.. [1] P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of
   the IEEE 78(10), 1550-1560, 1990.
""",
}

_Function = TypeVar("_Function", bound=Callable[..., object])


def documented(function: _Function) -> _Function:
    if function.__doc__:  # python -OO has none
        shared = {name: text.strip("\n") for name, text in _SHARED.items()}
        function.__doc__ = inspect.cleandoc(function.__doc__).format(**shared)
    return function
