"""How gradients flow back through time in a model, and what holds them up.

`gradient_flow` measures one call of a model and its pullback, `plot_gradient_flow` draws it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers.module import Module
from .optional import partner
from .recurrent.base import Recurrent, watcher
from .results import Array, Cache
from .training.step import Loss, value_and_grad

__all__ = ["Gate", "GradientFlow", "LayerFlow", "gradient_flow", "plot_gradient_flow"]

Norms = NDArray[np.float64]
Row = tuple[str, ...]  # of a table

# Saturated are values up to the first and from the second on; NaN is no end. The lowest and the
# highest tenth of the ranges of sigmoid and tanh: beyond, both have less than 0.36 of their
# greatest slope.
_ENDS = {
    "sigmoid": (0.1, 0.9),
    "tanh": (-0.8, 0.8),
    "relu": (0.0, math.nan),
    "leaky_relu": (0.0, math.nan),
    "identity": (math.nan, math.nan),
}


@dataclass(frozen=True)
class Gate:
    """One gate of a recurrent layer.

    Attributes
    ----------
    radius : float
        Spectral radius, the largest absolute eigenvalue, of the gate's block (H, H) of w_hh.
    low, high : float
        Shares of the gate's values, of all units, sequences and steps taken, that are saturated at
        the low and at the high end.
    """

    radius: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerFlow:
    """One direction of one recurrent layer.

    Attributes
    ----------
    name : str
        As in the names of the parameters: "0.l1_reverse" has the weights "0.weight_hh_l1_reverse".
    kind : str
        "RNN", "LSTM" or "GRU".
    dh : array (T,), float64
        The norm of dL/dh_t, over all units and sequences, for each t.
    gates : dict of str to Gate
        LSTM: i f g o, GRU: r z n, by their letters; RNN: one, h.
    """

    name: str
    kind: str
    dh: Norms
    gates: dict[str, Gate]


@dataclass(frozen=True, repr=False)
class GradientFlow:
    """What `gradient_flow` found; its repr is a table.

    Attributes
    ----------
    loss : float or None
        None where dy was given.
    layers : tuple of LayerFlow
        One a direction of each recurrent layer, in the order of the parameters.
    params : dict of str to float
        The norm of the gradient of each parameter.
    """

    loss: float | None
    layers: tuple[LayerFlow, ...]
    params: dict[str, float]

    def __repr__(self) -> str:
        of = "dy" if self.loss is None else f"loss {self.loss:.4g}"
        norms: list[Row] = [("|dL/dh_t|", "", "t = 0", "T/4", "T/2", "3T/4", "T-1")]
        gates: list[Row] = [("gate", "", "radius of w_hh", "saturated low", "high")]
        params: list[Row] = [("|dL/dparameter|", "", "")]
        for layer in self.layers:
            at = [round(part * (len(layer.dh) - 1) / 4) for part in range(5)]
            shown = [f"{layer.dh[t]:.1e}" for t in at] if len(layer.dh) else [""] * 5
            norms.append((layer.name, layer.kind, *shown))
            for letter, gate in layer.gates.items():
                shares = f"{gate.low:.0%}", f"{gate.high:.0%}"
                gates.append((layer.name, letter, f"{gate.radius:.3g}", *shares))
        params += [(name, "", f"{norm:.1e}") for name, norm in self.params.items()]
        return "\n\n".join([f"GradientFlow of {of}", *map(_table, (norms, gates, params))])


def gradient_flow(
    model: Module,
    x: Array,
    target: Any = None,
    loss: Loss | None = None,
    *,
    dy: Array | None = None,
    lengths: Any = None,
    state: Any = None,
) -> GradientFlow:
    """Measure how gradients flow back through time in one call of a model.

    Parameters
    ----------
    model : Module
        A recurrent layer, or a Sequential or other container of some. Its mode is left as it is:
        in train mode dropout acts.
    x : array
        What the model takes.
    target, loss : optional
        As in a step of `bptt.value_and_grad`: loss(y, target) -> (value, dy).
    dy : array of the shape of y, optional
        The gradient to send back, in place of target and loss.
    lengths : array of int (N,), optional
        Of the sequences.
    state : optional
        The initial state, as the model takes it.

    Returns
    -------
    GradientFlow

    Raises
    ------
    TypeError, ValueError
        There is neither a loss nor a dy, or both; the model has no recurrent layer; or the model or
        the loss refuse an argument.

    Notes
    -----
    dL/dh_t is the total gradient: what the loss sees of h_t itself, and what comes back from all
    later steps. If it falls towards t = 0 from where the loss is, early inputs are hardly learnt
    from: it vanishes [1]_. If it rises, it explodes. Both happen exponentially fast [2]_.

    From step to step an RNN's gradient is multiplied by w_hh', after the slopes f'. Its spectral
    radius is the factor in the long run where f' is 1: with a radius below 1, tanh or ReLU let
    gradients vanish; above 1, they explode as long as units do not saturate. In LSTM and GRU that
    holds of the block of the candidate (g, n) for the way through h, where the gates are open. The
    blocks of the other gates tell how strongly each depends on the state before; the way past all
    of them, c of the LSTM and z of the GRU, multiplies by f and z, so that a share of f or z
    saturated high is what holds a gradient.

    A gate is saturated, after [3]_, in the lowest or highest tenth of its range: sigmoid at most
    0.1 or at least 0.9, tanh at most -0.8 or at least 0.8. ReLU and leaky ReLU are saturated, low,
    at 0 and below; the identity never is.

    References
    ----------
    .. [1] S. Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", diploma thesis, TU
       Munich, 1991.
    .. [2] R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
       networks", ICML, 2013.
    .. [3] A. Karpathy, J. Johnson and L. Fei-Fei, "Visualizing and understanding recurrent
       networks", arXiv:1506.02078, 2015.

    Examples
    --------
    >>> import numpy as np, bptt
    >>> rnn = bptt.RNN(1, 1, nonlinearity="identity", dtype="float64")
    >>> rnn.params["weight_hh_l0"][:] = 0.5
    >>> dy = np.zeros((4, 1, 1))
    >>> dy[-1] = 1  # the loss is y of the last step
    >>> flow = bptt.diagnostics.gradient_flow(rnn, np.ones((4, 1, 1)), dy=dy)
    >>> flow.layers[0].dh
    array([0.125, 0.25 , 0.5  , 1.   ])
    """
    if dy is not None:
        if target is not None or loss is not None:
            raise ValueError("dy is given, must be None with a target or a loss")
        loss = _given(dy)
    step = value_and_grad(model, loss)  # type: ignore[arg-type]  # it refuses None
    names = {id(array): name for name, array in model.params.items()}
    found: dict[str, LayerFlow] = {}  # by the name of w_hh

    def watch(layer: Recurrent[Any], k: int, cache: Cache, dh: Array) -> None:
        w_hh = layer.params[layer._names[k]["w_hh"]]
        name = names[id(w_hh)]
        label = name.replace("weight_hh_", "")
        gates = _gates(layer, w_hh, cache, lengths)
        found[name] = LayerFlow(label, type(layer).__name__, _norms(dh), gates)

    token = watcher.set(watch)
    try:
        value, grads = step(x, target, lengths=lengths, state=state)
    finally:
        watcher.reset(token)
    if not found:
        raise ValueError(f"model is {model!r}, must have a recurrent layer")
    return GradientFlow(
        value,
        tuple(found[name] for name in model.params if name in found),
        {name: float(_norms(grad[np.newaxis])[0]) for name, grad in grads.items()},
    )


def plot_gradient_flow(flow: GradientFlow, ax: Any = None) -> Any:
    """Draw the norm of dL/dh_t of each recurrent layer against t, on a logarithmic axis.

    Parameters
    ----------
    flow : GradientFlow
    ax : matplotlib.axes.Axes, optional
        Drawn into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `.figure.savefig(path)` writes it.

    Raises
    ------
    ImportError
        There is no matplotlib; ``pip install 'bptt[examples]'`` brings it.
    """
    if ax is None:
        pyplot = partner("matplotlib.pyplot", "plot_gradient_flow needs", "examples")
        ax = pyplot.subplots(layout="constrained")[1]
    for layer in flow.layers:
        shown = np.where(layer.dh > 0, layer.dh, math.nan)  # zero has no place on the axis
        ax.plot(shown, label=f"{layer.kind} {layer.name}")
    ax.set(yscale="log", xlabel="step t", ylabel="norm of dL/dh_t", title="Gradient flow")
    ax.legend()
    return ax


def _given(dy: Array) -> Loss:
    """A loss without a value whose gradient is given."""
    return lambda y, target: (None, dy)


def _norms(rows: Array) -> Norms:
    """The norm of each row (., ...) of an array; its squares neither overflow nor vanish."""
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float64)
    largest = np.abs(flat).max(axis=1, initial=0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    norms: Norms = scale * np.linalg.norm(flat / scale[:, np.newaxis], axis=1)
    return norms


def _gates(layer: Recurrent[Any], w_hh: Array, cache: Cache, lengths: Any) -> dict[str, Gate]:
    saved = cache.arrays()  # by step s; past a sequence's end there is nothing
    values = saved["gates"] if "gates" in saved else saved["h"][1:, :, np.newaxis]
    T, N, G, _ = values.shape
    ends = np.full(N, T) if lengths is None else np.asarray(lengths)
    values = values[np.arange(T)[:, np.newaxis] < ends]
    blocks = np.split(w_hh.astype(np.float64), G)
    found = {}
    options = layer._options()
    for g, (letter, activation) in enumerate(layer._cell.activations.items()):
        low, high = _ENDS[options.get(activation, activation)]
        shares = _share(values[:, g] <= low), _share(values[:, g] >= high)
        found[letter] = Gate(_radius(blocks[g]), *shares)
    return found


def _share(where: NDArray[np.bool_]) -> float:
    return float(where.mean()) if where.size else math.nan


def _radius(block: Norms) -> float:
    if not np.isfinite(block).all():
        return math.nan
    return float(np.abs(np.linalg.eigvals(block)).max())


def _table(rows: list[Row]) -> str:
    """Rows of text in columns, the first two to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        left = [text.ljust(width) for text, width in zip(row[:2], widths, strict=False)]
        right = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right))
    return "\n".join(lines)
