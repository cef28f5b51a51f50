"""JAX: lax.scan under jit, the products with x outside the scan.

*Measured*: weights as arguments are as fast as weights as constants, and (H,G*H), the layout of
h @ w, is faster than PyTorch's (G*H,H) where the layout matters at all.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case
from inputs import Array, Inputs

from peers.base import Call, Peer, present, quickest

UNROLLS = (1, 4, 16)  # steps in one turn of the compiled loop; the fastest is taken


class Jax(Peer):
    name = "jax"
    needs = ("jax",)
    directions = ("forward",)

    def __init__(self, threads: int) -> None:
        # JAX takes a thread for each core it may use, and looks when it is imported
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.environ["JAX_PLATFORMS"] = "cpu"
        self._jax: Any = importlib.import_module("jax")

    def describe(self) -> dict[str, str]:
        return {"version": self._jax.__version__}

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        states = [inputs.h_0] if inputs.c_0 is None else [inputs.h_0, inputs.c_0]
        w_ih, w_hh, b_ih, b_hh = inputs.params.values()
        b_hn = np.zeros_like(b_hh)
        if cell == "gru":  # its n takes b_hh beneath the reset gate; all other biases are summed
            b_hn[2 * case.shape[3] :] = b_hh[2 * case.shape[3] :]
        arguments = self._jax.device_put(
            (
                inputs.x,
                tuple(state[0] for state in states),
                np.ascontiguousarray(w_ih.T),
                np.ascontiguousarray(w_hh.T),
                b_ih + b_hh - b_hn,
                b_hn[2 * case.shape[3] :],
            )
        )
        calls = [
            self._call(cell, arguments, unroll) for unroll in UNROLLS if unroll <= case.shape[0]
        ]
        return min(calls, key=lambda call: quickest(call.run))

    def _call(self, cell: str, arguments: Any, unroll: int) -> Call:
        jax = self._jax
        step = self._step(cell)

        def layer(x: Any, states: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any) -> Any:
            def turn(states: Any, gx: Any) -> Any:
                states = step(gx, states[0] @ w_hh, b_hn, *states)
                return states, states[0]

            return jax.lax.scan(turn, states, x @ w_ih + b, unroll=unroll)

        compiled = jax.jit(layer).lower(*arguments).compile()

        def named(result: Any) -> dict[str, Array]:
            last = [np.asarray(state)[None] for state in result[0]]
            c_n = last[1] if len(last) > 1 else None
            return present(y=np.asarray(result[1]), h_n=last[0], c_n=c_n)

        return Call(lambda: jax.block_until_ready(compiled(*arguments)), named, f"unroll {unroll}")

    def _step(self, cell: str) -> Callable[..., Any]:
        """(gx, gh, b_hn, states...) -> the new states; gx and gh (N,G*H), b_hn is GRU's alone."""
        jnp: Any = importlib.import_module("jax.numpy")
        sigmoid = self._jax.nn.sigmoid

        def rnn(gx: Any, gh: Any, b_hn: Any, h: Any) -> Any:
            return (jnp.tanh(gx + gh),)

        def lstm(gx: Any, gh: Any, b_hn: Any, h: Any, c: Any) -> Any:
            i, f, g, o = jnp.split(gx + gh, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
            return sigmoid(o) * jnp.tanh(c), c

        def gru(gx: Any, gh: Any, b_hn: Any, h: Any) -> Any:
            rx, zx, nx = jnp.split(gx, 3, axis=-1)
            rh, zh, nh = jnp.split(gh, 3, axis=-1)
            z = sigmoid(zx + zh)
            n = jnp.tanh(nx + sigmoid(rx + rh) * (nh + b_hn))
            return ((1 - z) * n + z * h,)

        steps: dict[str, Callable[..., Any]] = {"rnn": rnn, "lstm": lstm, "gru": gru}
        return steps[cell]
