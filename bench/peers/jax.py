"""JAX: lax.scan under jit, the products with x outside the scan, and its vjp for training.

*Measured*: weights as arguments are as fast as weights as constants, and (H,G*H), the layout of
h @ w, is faster than PyTorch's (G*H,H) where the layout matters at all.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from cases import Case
from inputs import Array, Inputs

from peers.base import Call, Peer, present, quickest

UNROLLS = (1, 4, 16)  # steps in one turn of the compiled loop; the fastest is taken


class Jax(Peer):
    name = "jax"
    needs = ("jax",)

    def __init__(self, threads: int) -> None:
        # JAX takes a thread for each core it may use, and looks when it is imported
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.environ["JAX_PLATFORMS"] = "cpu"
        self._jax: Any = importlib.import_module("jax")

    def describe(self) -> dict[str, str]:
        return {"version": self._jax.__version__}

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        scan, advance = self._jax.lax.scan, self._advance(cell)

        def layer(x: Any, states: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any, unroll: int) -> Any:
            def turn(states: Any, gx: Any) -> Any:
                return advance(w_hh, states, gx, b_hn)

            return scan(turn, states, x @ w_ih + b, unroll=unroll)

        return self._quickest(layer, _arguments(case, cell, inputs), _outputs)

    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """The vjp of the scan gives the gradients of what each step is given, products the others.

        *Measured*: up to 1.45 times faster than the vjp of all, which adds up dw_hh step by step.
        b_hn enters each step as an array of its own, so that its gradient is that of GRU's h w_hn.
        """
        jax, advance = self._jax, self._advance(cell)
        jnp: Any = importlib.import_module("jax.numpy")
        dlast = [gradient[0] for gradient in (inputs.dh_n, inputs.dc_n) if gradient is not None]

        def layer(
            x: Any,
            states: Any,
            w_ih: Any,
            w_hh: Any,
            b: Any,
            b_hn: Any,
            gradients: Any,
            unroll: int,
        ) -> Any:
            def turn(states: Any, step: Any) -> Any:
                return advance(w_hh, states, *step)

            def recurrence(states: Any, *steps: Any) -> Any:
                return jax.lax.scan(turn, states, steps, unroll=unroll)

            b_hns = jnp.broadcast_to(b_hn, (*x.shape[:2], len(b_hn)))
            (last, y), pullback = jax.vjp(recurrence, states, x @ w_ih + b, b_hns)
            dstates, dgx, dhn = pullback(gradients)
            before = jnp.concatenate([states[0][None], y[:-1]])
            dgh = jnp.concatenate([dgx[..., : len(b) - len(b_hn)], dhn], axis=-1)
            dw_ih, dw_hh = (
                jnp.einsum("tng,tni->gi", gates, factor)
                for gates, factor in ((dgx, x), (dgh, before))
            )
            weights = (dw_ih, dw_hh, dgx.sum((0, 1)), dgh.sum((0, 1)))
            return (last, y), dgx @ w_ih.T, dstates, weights

        def named(result: Any) -> dict[str, Array]:
            out, dx, dstates, weights = result
            found = {
                f"d{name}": np.asarray(gradient)
                for name, gradient in zip(inputs.params, weights, strict=True)
            }
            states = {
                f"d{name}": np.asarray(gradient)[None]
                for name, gradient in zip(("h_0", "c_0"), dstates, strict=False)
            }
            return {**_outputs(out), "dx": np.asarray(dx), **found, **states}

        arguments = (*_arguments(case, cell, inputs), (tuple(dlast), inputs.dy))
        return self._quickest(layer, arguments, named)

    def _quickest(
        self,
        layer: Callable[..., Any],
        arguments: Sequence[Any],
        named: Callable[[Any], dict[str, Array]],
    ) -> Call:
        jax = self._jax
        given = jax.device_put(arguments)
        calls = []
        for unroll in UNROLLS:
            if unroll > len(arguments[0]):
                continue
            compiled = jax.jit(partial(layer, unroll=unroll)).lower(*given).compile()
            calls.append(Call(_waiting(jax, compiled, given), named, f"unroll {unroll}"))
        return min(calls, key=lambda call: quickest(call.run))

    def _advance(self, cell: str) -> Callable[..., Any]:
        """One turn of a scan: (w_hh, states, gx, b_hn) -> the new states, h."""
        step = self._step(cell)

        def advance(w_hh: Any, states: Any, gx: Any, b_hn: Any) -> Any:
            states = step(gx, states[0] @ w_hh, b_hn, *states)
            return states, states[0]

        return advance

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


def _arguments(case: Case, cell: str, inputs: Inputs) -> tuple[Any, ...]:
    """x, states, w_ih and w_hh transposed, the bias, and b_hn, which is empty but for GRU.

    GRU's n takes its part of b_hh beneath the reset gate; all other biases are summed.
    """
    states = tuple(state[0] for state in (inputs.h_0, inputs.c_0) if state is not None)
    w_ih, w_hh, b_ih, b_hh = inputs.params.values()
    summed = len(b_hh) - (case.shape[3] if cell == "gru" else 0)
    b = b_ih.copy()
    b[:summed] += b_hh[:summed]
    return (
        inputs.x,
        states,
        np.ascontiguousarray(w_ih.T),
        np.ascontiguousarray(w_hh.T),
        b,
        b_hh[summed:],
    )


def _outputs(result: Any) -> dict[str, Array]:
    last = [np.asarray(state)[None] for state in result[0]]
    c_n = last[1] if len(last) > 1 else None
    return present(y=np.asarray(result[1]), h_n=last[0], c_n=c_n)


def _waiting(jax: Any, compiled: Any, given: Any) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(compiled(*given))
