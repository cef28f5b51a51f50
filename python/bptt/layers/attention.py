"""Attention of a decoder to the steps of an encoder: weights over them, and their weighted sum.

Letters: N sequences; S steps that ask (queries, of the decoder) with Q features, T steps that are
asked (keys, of the encoder) with K features. All work is on (N, S, .) and (N, T, .).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .. import _arguments, _checks
from ..results import Array
from .layout import Layout, inside
from .module import Module
from .parameters import uniform
from .softmax import softmax, softmax_backward


class AttentionGradients(NamedTuple):
    """Gradients of an attention; None where `wrt` left a field out."""

    query: Array | None
    keys: Array | None
    params: dict[str, Array] | None


AttentionPullback = Callable[..., AttentionGradients]
# of dscores (N, S, T): dq (N, S, Q), dk (N, T, K), and gradients of the parameters by name
ScoreBackward = Callable[[Array], tuple[Array, Array, dict[str, Array]]]


class Attention(Module):
    """What both kinds have in common; each defines `_score`, forward and backward."""

    takes_lengths = True

    def __init__(self, query_size: int, key_size: int, batch_first: bool, dtype: DTypeLike) -> None:
        super().__init__()
        self.query_size = query_size
        self.key_size = key_size
        self.batch_first = _arguments.flag("batch_first", batch_first)
        self.dtype = _checks.as_dtype(dtype)

    def __call__(self, query: Array, keys: Array, *, lengths: Any = None) -> tuple[Array, Array]:
        """Return the context and the weights, and keep nothing.

        Parameters
        ----------
        query : array (N, Q), or (S, N, Q), with batch_first (N, S, Q)
            One state of the decoder, or its states at S steps.
        keys : array (T, N, K), or (N, T, K) with batch_first
            The steps of the encoder. Or unbatched (T, K), with a query (Q,) or (S, Q). What lies
            past the end of a sequence reaches nothing.
        lengths : array of int (N,), optional
            Of the keys, 0..T, all T by default. With length 0, context and weights are zero.

        Returns
        -------
        context : array like query, with a last axis K
            The sum of the keys, each times its weight.
        weights : array like query, with a last axis T
            How much each step asks of each key: their sum over the keys is 1.
        """
        context, weights, _ = self.vjp(query, keys, lengths=lengths)
        return context, weights

    def vjp(
        self, query: Array, keys: Array, *, lengths: Any = None
    ) -> tuple[Array, Array, AttentionPullback]:
        """Return the context and the weights, as a call does, and their pullback.

        pullback(dcontext=None, dweights=None, wrt=None) returns `AttentionGradients`; wrt is a
        collection of "query", "keys", "params". It may be called more than once. It refers to
        query, keys and the parameters: changing them before its last call is the caller's error.
        """
        query = _checks.as_array("query", query, self.dtype)
        keys = _checks.as_array("keys", keys, self.dtype)
        layout = Layout.of(keys, "key_size", self.batch_first, "keys")
        if keys.shape[-1] != self.key_size:
            raise ValueError(
                f"keys has shape {keys.shape}, must have a last axis of key_size = {self.key_size}"
            )
        T, N, _ = layout.time_major(keys).shape
        self._check_query(query, layout, N)
        lengths = layout.lengths(lengths, keys, "keys")
        there = None if lengths is None else inside(lengths, T).T[:, np.newaxis]  # (N, 1, T)
        context = np.empty((*query.shape[:-1], self.key_size), self.dtype)
        shown = np.empty((*query.shape[:-1], T), self.dtype)  # the caller's weights
        many = query.ndim == keys.ndim
        q, k = _rows(query, layout, many), _rows(layout.cleared(keys, lengths), layout)

        scores, score_backward = self._score(q, k)
        weights = softmax(scores, there)
        _rows(shown, layout, many)[...] = weights
        np.matmul(weights, k, out=_rows(context, layout, many))
        shapes = context.shape, shown.shape

        def pullback(
            dcontext: Array | None = None, dweights: Array | None = None, wrt: Any = None
        ) -> AttentionGradients:
            dcontext = self._gradient("dcontext", dcontext, shapes[0])
            dweights = self._gradient("dweights", dweights, shapes[1])
            wanted = _arguments.wrt(wrt, AttentionGradients._fields)
            dmixed, dw = _rows(dcontext, layout, many), _rows(dweights, layout, many)
            if there is not None:
                dw = np.where(there, dw, self.dtype.type(0))
            dscores = softmax_backward(weights, dw + dmixed @ k.swapaxes(1, 2))
            dq, dk, params = score_backward(dscores)
            dk += weights.swapaxes(1, 2) @ dmixed  # context = weights k
            dquery, dkeys = np.empty(query.shape, self.dtype), np.empty(keys.shape, self.dtype)
            _rows(dquery, layout, many)[...] = dq
            _rows(dkeys, layout)[...] = dk
            return AttentionGradients(
                dquery if "query" in wanted else None,
                dkeys if "keys" in wanted else None,
                params if "params" in wanted else None,
            )

        return context, shown, pullback

    def _gradient(self, name: str, value: Any, shape: tuple[int, ...]) -> Array:
        return _checks.as_gradient(name, value, self.dtype, f"the shape of {name[1:]}", shape)

    def _check_query(self, query: Array, layout: Layout, N: int) -> None:
        Q = self.query_size
        if layout.batched:
            axes = "(N, S, query_size)" if layout.batch_first else "(S, N, query_size)"
            fits = query.shape == (N, Q) or (
                query.ndim == 3 and layout.time_major(query).shape[1:] == (N, Q)
            )
            must = f"(N, query_size) = {(N, Q)} or {axes}"
        else:
            fits = query.ndim in (1, 2) and query.shape[-1] == Q
            must = f"(query_size,) = {(Q,)} or (S, query_size), like the unbatched keys"
        if not fits:
            raise ValueError(f"query has shape {query.shape}, must be {must}")

    def _score(self, q: Array, k: Array) -> tuple[Array, ScoreBackward]:
        """Return a new array of scores (N, S, T) of q (N, S, Q) and k (N, T, K), and the way back.

        The way back returns new arrays too.
        """
        raise NotImplementedError


class BahdanauAttention(Attention):
    """Scores v . tanh(W_q query + W_k key), the additive attention.

    Bahdanau, Cho and Bengio (2015), "Neural Machine Translation by Jointly Learning to Align and
    Translate". There the query is the decoder's state before the step.

    Parameters
    ----------
    query_size, key_size : int
        Q and K.
    hidden_size : int
        H, the number of tanh.
    batch_first : bool
        Whether sequences are (N, T, .) instead of (T, N, .).
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        Source of the initial values, uniform in +-1/sqrt(Q), +-1/sqrt(K) and +-1/sqrt(H).

    Notes
    -----
    `params` are weight_query (H, Q), weight_key (H, K) and weight_score (H,). With two inputs it
    does not stand in a Sequential but in a layer of one's own. Memory is that of (N, S, T, H).
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        hidden_size: int,
        batch_first: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        Q, K = _sizes(query_size, key_size)
        H = self.hidden_size = _checks.as_size("hidden_size", hidden_size)
        super().__init__(Q, K, batch_first, dtype)
        rng = _checks.as_rng(rng)
        for name, shape in (
            ("weight_query", (H, Q)),
            ("weight_key", (H, K)),
            ("weight_score", (H,)),
        ):
            self._params |= uniform({name: shape}, 1 / math.sqrt(shape[-1]), self.dtype, rng)

    def _score(self, q: Array, k: Array) -> tuple[Array, ScoreBackward]:
        names = ("weight_query", "weight_key", "weight_score")
        w_q, w_k, v = (self._params[name] for name in names)
        scores, additive_backward = _additive(q, k, w_q, w_k, v)

        def backward(dscores: Array) -> tuple[Array, Array, dict[str, Array]]:
            dq, dk, *dweights = additive_backward(dscores)
            return dq, dk, dict(zip(names, dweights, strict=True))

        return scores, backward


class LuongAttention(Attention):
    """Scores query . key ("dot"), query . W key ("general") or v . tanh(W [query, key]) ("concat").

    Luong, Pham and Manning (2015), "Effective Approaches to Attention-based Neural Machine
    Translation", global attention. There the query is the decoder's state after the step.

    Parameters
    ----------
    query_size, key_size : int
        Q and K; equal for "dot".
    score : {"dot", "general", "concat"}
    batch_first : bool
        Whether sequences are (N, T, .) instead of (T, N, .).
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        Source of the initial values, uniform in +-1/sqrt(Q), for the W of "concat"
        +-1/sqrt(Q + K).

    Notes
    -----
    `params` are none for "dot", weight (Q, K) for "general", weight (Q, Q + K) and weight_score
    (Q,) for "concat". With two inputs it does not stand in a Sequential but in a layer of one's
    own. Memory is that of (N, S, T), for "concat" of (N, S, T, Q).
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        score: str = "general",
        batch_first: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        Q, K = _sizes(query_size, key_size)
        self.score = _checks.as_choice("score", score, ("dot", "general", "concat"))
        if self.score == "dot" and Q != K:
            raise ValueError(f"key_size is {K}, must be query_size = {Q} with the score 'dot'")
        super().__init__(Q, K, batch_first, dtype)
        rng = _checks.as_rng(rng)
        if self.score == "general":
            self._params = uniform({"weight": (Q, K)}, 1 / math.sqrt(Q), self.dtype, rng)
        elif self.score == "concat":
            self._params = uniform({"weight": (Q, Q + K)}, 1 / math.sqrt(Q + K), self.dtype, rng)
            self._params |= uniform({"weight_score": (Q,)}, 1 / math.sqrt(Q), self.dtype, rng)

    def _score(self, q: Array, k: Array) -> tuple[Array, ScoreBackward]:
        if self.score == "concat":
            return self._concat(q, k)
        weight = self._params.get("weight")
        asked = q if weight is None else q @ weight  # (N, S, K)

        def backward(dscores: Array) -> tuple[Array, Array, dict[str, Array]]:
            dasked, dk = dscores @ k, dscores.swapaxes(1, 2) @ asked
            if weight is None:
                return dasked, dk, {}
            return dasked @ weight.T, dk, {"weight": _sum_outer(q, dasked)}

        return asked @ k.swapaxes(1, 2), backward

    def _concat(self, q: Array, k: Array) -> tuple[Array, ScoreBackward]:
        """W [q, k] is W_q q + W_k k with the two parts of W."""
        w_q, w_k = np.split(self._params["weight"], [self.query_size], axis=1)
        scores, additive_backward = _additive(q, k, w_q, w_k, self._params["weight_score"])

        def backward(dscores: Array) -> tuple[Array, Array, dict[str, Array]]:
            dq, dk, dw_q, dw_k, dv = additive_backward(dscores)
            return dq, dk, {"weight": np.concatenate((dw_q, dw_k), axis=1), "weight_score": dv}

        return scores, backward


def _additive(
    q: Array, k: Array, w_q: Array, w_k: Array, v: Array
) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Return scores v . tanh(w_q q + w_k k), and their way back: dq, dk, dw_q, dw_k, dv."""
    s = np.tanh((q @ w_q.T)[:, :, np.newaxis] + (k @ w_k.T)[:, np.newaxis])  # (N, S, T, H)

    def backward(dscores: Array) -> tuple[Array, ...]:
        da = dscores[..., np.newaxis] * v * (1 - s * s)  # s = tanh(a)
        da_q, da_k = da.sum(axis=2), da.sum(axis=1)
        dv = dscores.reshape(-1) @ s.reshape(-1, len(v))
        return da_q @ w_q, da_k @ w_k, _sum_outer(da_q, q), _sum_outer(da_k, k), dv

    return s @ v, backward


def _sum_outer(a: Array, b: Array) -> Array:
    """Return the sum of outer products of the rows of a (N, S, A) and b (N, S, B): (A, B)."""
    return np.tensordot(a, b, axes=((0, 1), (0, 1)))


def _rows(a: Array, layout: Layout, many: bool = True) -> Array:
    """View a caller's array as (N, S, .); if not `many`, it has no axis S."""
    if not many:
        a = a[..., np.newaxis, :]
    elif layout.batched and not layout.batch_first:
        a = a.swapaxes(0, 1)
    return a if layout.batched else a[np.newaxis]


def _sizes(query_size: object, key_size: object) -> tuple[int, int]:
    return _checks.as_size("query_size", query_size), _checks.as_size("key_size", key_size)
