"""Self-attention with several heads: each step of a sequence looks at all others at once."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import checks
from ..results import Array
from .base import Forward, Gradients, LengthsLayer
from .layout import Layout, Lengths, inside
from .parameters import affine, sum_rows, uniform
from .softmax import softmax, softmax_backward


class _Tape(NamedTuple):
    """What a call keeps for its pullbacks. h heads, d = E / h."""

    layout: Layout
    lengths: Lengths | None
    x: Array  # in the caller's layout, zero past each end
    heads: Array  # q / sqrt(d), k and v, (3, N, h, T, d)
    weights: Array  # (N, h, T, T), the last axis that of the keys
    mixed: Array  # what the heads gathered, weights v, in the caller's layout


class MultiHeadSelfAttention(LengthsLayer):
    """Every step gathers from all steps, by weights that depend on what they hold.

    With q, k, v = in_proj(x), cut into heads of d = embed_dim / num_heads features each,
    y = out_proj(softmax(q k^T / sqrt(d)) v). Vaswani et al. (2017), "Attention Is All You Need";
    parameters and numbers are those of torch.nn.MultiheadAttention with x as query, key and value.

    Parameters
    ----------
    embed_dim, num_heads : int
        E, a multiple of num_heads, and the number of heads.
    causal : bool
        Whether a step sees only itself and those before it.
    bias : bool
        Whether there are in_proj_bias and out_proj.bias, 0 at first.
    batch_first : bool
        Whether x and y are (N, T, E) instead of (T, N, E).
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        Source of the initial values: in_proj_weight uniform in +-sqrt(6 / (E + 3E)) (Glorot and
        Bengio, 2010), out_proj.weight in +-1/sqrt(E), as in PyTorch.

    Notes
    -----
    `params` are in_proj_weight (3E, E), in_proj_bias (3E,), out_proj.weight (E, E) and
    out_proj.bias (E,). Work and memory grow with T^2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        causal: bool = False,
        bias: bool = True,
        batch_first: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        E = self.embed_dim = checks.size("embed_dim", embed_dim)
        self.num_heads = checks.size("num_heads", num_heads)
        if E % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}, must divide embed_dim = {self.embed_dim}"
            )
        self.causal = checks.flag("causal", causal)
        self.bias = checks.flag("bias", bias)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dtype = checks.float_dtype(dtype)
        rng = checks.generator(rng)
        glorot = math.sqrt(6 / (E + 3 * E))
        self._params = uniform({"in_proj_weight": (3 * E, E)}, glorot, self.dtype, rng)
        if self.bias:
            self._params["in_proj_bias"] = np.zeros(3 * E, self.dtype)
        self._params |= uniform({"out_proj.weight": (E, E)}, 1 / math.sqrt(E), self.dtype, rng)
        if self.bias:
            self._params["out_proj.bias"] = np.zeros(E, self.dtype)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y in the shape of x.

        Parameters
        ----------
        x : array (T, N, E), or (N, T, E) with batch_first
            Or unbatched (T, E). What lies past the end of a sequence reaches nothing.
        lengths : array of int (N,), optional
            Of the sequences, 0..T, all T by default. Past its end a sequence's y is zero.
        """
        tape = self._attend(x, lengths)
        layout, lengths, mixed = tape.layout, tape.lengths, tape.mixed
        back = partial(self._back, tape) if keep else None
        del tape  # else its weights stay until y is made
        y = affine(
            mixed.reshape(-1, self.embed_dim),
            self._params["out_proj.weight"],
            self._params.get("out_proj.bias"),
        )
        return layout.cleared(y.reshape(mixed.shape), lengths), None, back

    def weights(self, x: Array, *, lengths: Any = None) -> Array:
        """Return how much step t of sequence n takes from step s in head i, at [n, i, t, s].

        Parameters
        ----------
        x, lengths
            As in a call.

        Returns
        -------
        weights : array (N, num_heads, T, T), or (num_heads, T, T) for an unbatched x
            The sum over s is 1, but past the end of a sequence there are zeros.
        """
        tape = self._attend(x, lengths)
        return tape.weights if tape.layout.batched else tape.weights[0]

    def _attend(self, x: Any, lengths: Any) -> _Tape:
        x = checks.array("x", x, self.dtype)
        layout = Layout.of(x, "embed_dim", self.batch_first)
        if x.shape[-1] != self.embed_dim:
            raise ValueError(
                f"x has shape {x.shape}, must have a last axis of embed_dim = {self.embed_dim}"
            )
        lengths = layout.lengths(lengths, x)
        x = layout.cleared(x, lengths)
        rows = x.reshape(-1, self.embed_dim)
        qkv = affine(rows, self._params["in_proj_weight"], self._params.get("in_proj_bias"))
        qkv[:, : self.embed_dim] *= self._scale
        heads = self._heads(layout, qkv.reshape(*x.shape[:-1], 3 * self.embed_dim))
        q, k, v = heads
        weights = softmax(q @ k.swapaxes(-1, -2), self._seen(q.shape[-2], lengths))
        mixed = np.empty(x.shape, self.dtype)
        np.matmul(weights, v, out=self._heads(layout, mixed)[0])
        return _Tape(layout, lengths, x, heads, weights, mixed)

    def _back(self, tape: _Tape, dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
        layout, lengths, x, (q, k, v), weights, mixed = tape
        dy = layout.cleared(dy, lengths).reshape(-1, self.embed_dim)
        dmixed = dy @ self._params["out_proj.weight"]
        dgathered = self._heads(layout, dmixed.reshape(x.shape))[0]
        dqkv = np.empty((len(dy), 3 * self.embed_dim), self.dtype)
        dq, dk, dv = self._heads(layout, dqkv.reshape(*x.shape[:-1], 3 * self.embed_dim))
        np.matmul(weights.swapaxes(-1, -2), dgathered, out=dv)  # gathered = weights v
        dscores = softmax_backward(weights, dgathered @ v.swapaxes(-1, -2))
        np.matmul(dscores, k, out=dq)  # scores = q k^T
        np.matmul(dscores.swapaxes(-1, -2), q, out=dk)
        dqkv[:, : self.embed_dim] *= self._scale
        dx = None
        if "x" in wanted:
            dx = (dqkv @ self._params["in_proj_weight"]).reshape(x.shape)
        if "params" not in wanted:
            return dx, None, None
        params = {
            "in_proj_weight": dqkv.T @ x.reshape(-1, self.embed_dim),
            "in_proj_bias": sum_rows(dqkv),
            "out_proj.weight": dy.T @ mixed.reshape(-1, self.embed_dim),
            "out_proj.bias": sum_rows(dy),
        }
        return dx, None, {name: params[name] for name in self._params}

    @property
    def _scale(self) -> float:
        """Of q, so that its products with k do not grow with the size of a head."""
        return math.sqrt(self.num_heads / self.embed_dim)

    def _heads(self, layout: Layout, rows: Array) -> Array:
        """View rows, in the caller's layout with a last axis of P * E, as (P, N, h, T, d)."""
        steps = layout.time_major(rows)
        T, N, width = steps.shape
        E, h = self.embed_dim, self.num_heads
        return steps.reshape(T, N, width // E, h, E // h).transpose(2, 1, 3, 0, 4)

    def _seen(self, T: int, lengths: Lengths | None) -> NDArray[np.bool_] | None:
        """Whether a step sees another, to be broadcast to (N, h, T, T); None if all see all."""
        seen = np.tri(T, dtype=bool) if self.causal else None
        if lengths is not None:
            there = inside(lengths, T).T[:, np.newaxis]  # (N, 1, T)
            both = there[..., np.newaxis] & there[:, :, np.newaxis]  # step and step
            seen = both if seen is None else both & seen
        return seen
