"""The way through time in plain NumPy: the same for all cells.

The other half of the specification, see `cells`, whose letters these are; nothing here checks its
arguments either.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..results import Array, LSTMGradients
from .cells import Cell, State

Index = NDArray[np.intp]


class Order(NamedTuple):
    """Where each step of each sequence finds its row: sequence n reads x[t, n] at its step s.

    A sequence of length l takes the steps s = 0 .. l-1 at t = s, or t = l-1-s in reverse. The three
    index arrays list all steps taken, so that rows past an end are neither read nor written.
    """

    lengths: Index  # (N,)
    s: Index
    n: Index
    t: Index

    @classmethod
    def of(cls, T: int, N: int, lengths: Index | None, reverse: bool) -> Order:
        lengths = np.full(N, T, np.intp) if lengths is None else lengths
        s, n = np.nonzero(np.arange(lengths.max(initial=0))[:, None] < lengths)
        return cls(lengths, s, n, lengths[n] - 1 - s if reverse else s)

    def steps(self, segment: range) -> range:
        """Return those steps of a segment that any sequence takes."""
        return range(segment.start, min(segment.stop, self.lengths.max(initial=0)))

    def running(self, s: int) -> Index:
        """Return the sequences that take step s."""
        return np.flatnonzero(s < self.lengths)

    def by_step(self, rows: Array, dtype: np.dtype[np.floating]) -> Array:
        """Return rows (T, N, .) given by time t ordered by step s, zero past each end."""
        ordered = np.zeros(rows.shape, dtype)
        ordered[self.s, self.n] = rows[self.t, self.n]
        return ordered

    def by_time(self, rows: Array) -> Array:
        """Return rows (T, N, .) given by step s ordered by time t, zero past each end."""
        ordered = np.zeros_like(rows)
        ordered[self.t, self.n] = rows[self.s, self.n]
        return ordered


class Kept(NamedTuple):
    """What the S steps of a segment keep; zero past a sequence's end."""

    h: Array  # (S+1, N, H): h[0] is the state before the segment
    c: Array  # (S+1, N, H) or (S+1, N, 0)
    v: Array  # (V, S, N, H)


class Cache(NamedTuple):
    """What a forward call keeps for its backward call: opaque and read-only.

    Time is cut into segments. There is one, and what its steps keep is kept; or, with checkpoints,
    there are several, and only the states before them are kept.
    """

    cell: Cell
    order: Order
    x: Array  # (T, N, I) by step
    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array
    segments: list[range]
    states: list[State]  # before each segment, of (N, H)
    kept: Kept | None

    def segment(self, i: int) -> Kept:
        """Return what the steps of segment i keep."""
        return self.kept or advance(self, self.states[i], self.segments[i])[0]

    def arrays(self) -> dict[str, Array]:
        """Copy out what was saved, ordered by step s; what lies past a sequence's end is zero.

        With checkpoints it is computed again.

        Returns
        -------
        dict of str to array
            h (T+1, N, H), the states, h[0] being h_0; LSTM: also c (T+1, N, H); LSTM and GRU: gates
            (T, N, G, H) after their activations; GRU: also q (T, N, H) = W_hn h + b_hn.
        """
        G = self.cell.gates
        h, c, v = self.kept or advance(self, self.states[0], range(len(self.x)))[0]
        copies = {"h": h.copy()}
        if self.cell.cells:
            copies["c"] = c.copy()
        if self.cell.saved:
            copies["gates"] = np.moveaxis(v[:G], 0, 2).copy()
        if self.cell.saved > G:
            copies["q"] = v[G].copy()
        return copies


@np.errstate(all="ignore")
def advance(cache: Cache, start: State, segment: range) -> tuple[Kept, State]:
    """Take the steps of a segment from the state before it; return also the state after it.

    The state is that of all N sequences. It stays what it is where a sequence has ended.
    """
    cell, order, S = cache.cell, cache.order, len(segment)
    h, c = State(start.h.copy(), start.c.copy())
    kept = Kept(
        np.zeros((S + 1, *h.shape), h.dtype),
        np.zeros((S + 1, *c.shape), c.dtype),
        np.zeros((cell.saved, S, *h.shape), h.dtype),
    )
    kept.h[0] = h
    kept.c[0] = c
    for s in order.steps(segment):
        n = order.running(s)
        gx = cache.x[s, n] @ cache.w_ih.T + cache.b_ih
        gh = h[n] @ cache.w_hh.T + cache.b_hh
        state, values = cell.forward(
            np.split(gx, cell.gates, axis=1), np.split(gh, cell.gates, axis=1), State(h[n], c[n])
        )
        h[n] = state.h
        c[n] = state.c
        k = s - segment.start
        kept.h[k + 1, n] = state.h
        kept.c[k + 1, n] = state.c
        for saved, value in zip(kept.v, values, strict=True):
            saved[k, n] = value
    return kept, State(h, c)


def forward(
    cell: Cell,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h_0: Array | None = None,
    c_0: Array | None = None,
    *,
    lengths: Index | None = None,
    reverse: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Array, Array, Array, Cache]:
    """Return y, h_n, c_n and the cache."""
    T, N, _ = x.shape
    G, H = cell.gates, w_hh.shape[1]
    given = [a for a in (x, w_ih, w_hh, b_ih, b_hh, h_0, c_0) if a is not None]
    dtype = np.result_type(*given)
    order = Order.of(T, N, lengths, reverse)
    xs = order.by_step(x, dtype)
    b_ih = np.zeros(G * H, dtype) if b_ih is None else b_ih
    b_hh = np.zeros(G * H, dtype) if b_hh is None else b_hh
    state = State(np.zeros((N, H), dtype), np.zeros((N, H * cell.cells), dtype))
    state.h[...] = 0 if h_0 is None else h_0
    state.c[...] = 0 if c_0 is None else c_0

    every = checkpoint_every or max(T, 1)
    segments = [range(T)[a : a + every] for a in range(0, max(T, 1), every)]
    cache = Cache(cell, order, xs, w_ih, w_hh, b_ih, b_hh, segments, [], None)
    hs = np.zeros((T, N, H), dtype)
    for segment in segments:
        cache.states.append(state)
        kept, state = advance(cache, state, segment)
        hs[segment.start : segment.stop] = kept.h[1:]
    if checkpoint_every is None:
        cache = cache._replace(kept=kept)
    return order.by_time(hs), state.h, state.c, cache


@np.errstate(all="ignore")
def backward(
    cache: Cache,
    dy: Array | None = None,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
) -> LSTMGradients:
    """Return the gradients of all arguments and of h; c_0's is (N, 0) where the cell has no c."""
    cell, order, xs, first = cache.cell, cache.order, cache.x, cache.states[0]
    dh = np.zeros_like(first.h)
    dc = np.zeros_like(first.c)
    dh += 0 if dh_n is None else dh_n
    dc += 0 if dc_n is None else dc_n
    dys = np.zeros((len(xs), *dh.shape), dh.dtype) if dy is None else order.by_step(dy, dh.dtype)
    dxs = np.zeros_like(xs)
    dw_ih = np.zeros_like(cache.w_ih)
    dw_hh = np.zeros_like(cache.w_hh)
    db_ih = np.zeros_like(cache.w_hh[:, 0])
    db_hh = np.zeros_like(cache.w_hh[:, 0])
    dhs = np.zeros_like(dys)

    for i in reversed(range(len(cache.segments))):
        segment = cache.segments[i]
        h, c, v = cache.segment(i)
        for s in reversed(order.steps(segment)):
            n, k = order.running(s), s - segment.start
            ds = State(dh[n] + dys[s, n], dc[n])  # y = h
            dhs[s, n] = ds.h
            p, state = State(h[k, n], c[k, n]), State(h[k + 1, n], c[k + 1, n])
            gates_x, gates_h, dp = cell.backward(ds, p, state, list(v[:, k, n]))
            dgx = np.concatenate(gates_x, axis=1)
            dgh = np.concatenate(gates_h, axis=1)
            dxs[s, n] = dgx @ cache.w_ih  # gx = x w_ih' + b_ih
            dw_ih += dgx.T @ xs[s, n]
            db_ih += dgx.sum(axis=0)
            dh[n] = dp.h + dgh @ cache.w_hh  # gh = p.h w_hh' + b_hh
            dc[n] = dp.c
            dw_hh += dgh.T @ p.h
            db_hh += dgh.sum(axis=0)

    return LSTMGradients(order.by_time(dxs), dw_ih, dw_hh, db_ih, db_hh, dh, dc, order.by_time(dhs))
