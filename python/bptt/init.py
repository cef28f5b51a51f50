"""Initial values: functions that fill an array in place and return it.

`torch.nn.init` has those of the same names. `gates` says of how many blocks of rows, one a gate, an
array is made, such as 4 for an LSTM's `weight_hh_l0`; each block is filled for itself. Numbers are
drawn in float64, so that a seed means the same values in both dtypes::

    bptt.init.orthogonal_(lstm.params["weight_hh_l0"], gates=4, rng=0)
    bptt.init.recurrent_(lstm, bptt.init.orthogonal_, rng=0)
    bptt.init.forget_gate_bias_(lstm, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _arguments, _checks
from .recurrent.base import Recurrent
from .recurrent.layers import GRU, LSTM
from .results import Array

Rng: TypeAlias = "int | np.random.Generator | None"  # a string: numpy.random is slow to import
Values = NDArray[np.float64]

__all__ = [
    "calculate_gain",
    "chrono_",
    "eye_",
    "forget_gate_bias_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "orthogonal_",
    "recurrent_",
    "xavier_normal_",
    "xavier_uniform_",
]

_GAINS: dict[str, Callable[[float], float]] = {
    "linear": lambda slope: 1.0,
    "identity": lambda slope: 1.0,
    "sigmoid": lambda slope: 1.0,
    "tanh": lambda slope: 5 / 3,
    "relu": lambda slope: math.sqrt(2),
    "leaky_relu": lambda slope: math.sqrt(2 / (1 + slope**2)),
}


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """The factor by which weights before a nonlinearity are to be larger, torch.nn.init's.

    Parameters
    ----------
    nonlinearity : {"linear", "identity", "sigmoid", "tanh", "relu", "leaky_relu"}
    param : float
        The slope of leaky_relu.
    """
    nonlinearity = _checks.as_choice("nonlinearity", nonlinearity, _GAINS)
    return _GAINS[nonlinearity](_checks.as_real("param", param, -math.inf))


def eye_(array: Array, *, gates: int = 1) -> Array:
    """Fill with the identity: ones where row and column are the same, zeros elsewhere.

    For weight_hh of an RNN with ReLU: Le, Jaitly and Hinton (2015).

    Parameters
    ----------
    array : float array (gates*R, C)
    gates : int
        Blocks of rows, each of which becomes an identity.
    """
    _check_matrix(array, most=2)
    return _fill(array, gates, lambda shape: np.eye(shape[0], shape[1]))


def orthogonal_(array: Array, gain: float = 1.0, *, gates: int = 1, rng: Rng = None) -> Array:
    """Fill with a random matrix of orthonormal rows or, where there are more rows, columns.

    It is uniformly distributed over all of them (Haar measure). Saxe, McClelland and Ganguli
    (2014); Mezzadri (2007) for the signs.

    Parameters
    ----------
    array : float array (gates*R, ...)
        Axes beyond the second are taken together with it.
    gain : float
        Factor, at least 0.
    gates : int
        Blocks of rows, each of which becomes orthogonal.
    rng : None, int or numpy.random.Generator
    """
    _check_matrix(array)
    gain = _checks.as_real("gain", gain, 0)
    generator = _checks.as_rng(rng)

    def draw(shape: tuple[int, ...]) -> Values:
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -gain, gain)  # QR's own signs are not random
        return (q if rows >= columns else q.T).reshape(shape)

    return _fill(array, gates, draw)


def xavier_uniform_(array: Array, gain: float = 1.0, *, gates: int = 1, rng: Rng = None) -> Array:
    """Fill with uniform values of variance gain^2 2 / (fan_in + fan_out); see `xavier_normal_`."""
    return _xavier(array, gain, gates, rng, _uniform)


def xavier_normal_(array: Array, gain: float = 1.0, *, gates: int = 1, rng: Rng = None) -> Array:
    """Fill with normal values of variance gain^2 2 / (fan_in + fan_out).

    Glorot and Bengio (2010). A block of shape (R, C) has the fans C and R.

    Parameters
    ----------
    array : float array (gates*R, C), or with more axes, which count as positions of a kernel
    gain : float
        At least 0, such as `calculate_gain("tanh")`.
    gates : int
        Blocks of rows.
    rng : None, int or numpy.random.Generator
    """
    return _xavier(array, gain, gates, rng, _normal)


def kaiming_uniform_(
    array: Array,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    gates: int = 1,
    rng: Rng = None,
) -> Array:
    """Fill with uniform values of variance gain^2 / fan; see `kaiming_normal_`."""
    return _kaiming(array, a, mode, nonlinearity, gates, rng, _uniform)


def kaiming_normal_(
    array: Array,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    gates: int = 1,
    rng: Rng = None,
) -> Array:
    """Fill with normal values of variance gain^2 / fan, with the nonlinearity's gain.

    He, Zhang, Ren and Sun (2015). A block of shape (R, C) has fan_in C and fan_out R.

    Parameters
    ----------
    array : float array (gates*R, C), or with more axes, which count as positions of a kernel
    a : float
        The slope of leaky_relu.
    mode : {"fan_in", "fan_out"}
        Whether the variance is kept forward or backward.
    nonlinearity : str
        As in `calculate_gain`.
    gates : int
        Blocks of rows.
    rng : None, int or numpy.random.Generator
    """
    return _kaiming(array, a, mode, nonlinearity, gates, rng, _normal)


def recurrent_(layer: Recurrent[Any], fill: Callable[..., Array], **options: Any) -> None:
    """Fill the block of each gate of each weight_hh of an RNN, LSTM or GRU.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
    fill : callable
        A function of this module, such as `orthogonal_` or `eye_`.
    **options
        Its other arguments. One `rng` serves all weights.
    """
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer is {_arguments.described(layer)}, must be an RNN, LSTM or GRU")
    if not callable(fill):
        raise TypeError(f"fill is {_arguments.described(fill)}, must be a function of bptt.init")
    if "rng" in options:
        options["rng"] = _checks.as_rng(options["rng"])
    for _, w_hh, *_ in layer._fours:
        fill(layer.params[w_hh], gates=layer._gates, **options)


def forget_gate_bias_(lstm: LSTM, value: float = 1.0) -> None:
    """Set the bias of all forget gates of an LSTM: bias_ih to `value`, bias_hh to 0.

    So that it remembers at the start. Gers, Schmidhuber and Cummins (2000); Jozefowicz, Zaremba
    and Sutskever (2015) for the value 1.
    """
    if not isinstance(lstm, LSTM):
        raise TypeError(f"lstm is {_arguments.described(lstm)}, must be an LSTM")
    value = _checks.as_number("value", value)
    for bias_ih, bias_hh in _biases("lstm", lstm):
        bias_ih[1] = value
        bias_hh[1] = 0


def chrono_(layer: LSTM | GRU, T_max: int, rng: Rng = None) -> None:
    """Set biases so that the units remember for times of all sizes up to `T_max` steps.

    Tallec and Ollivier (2018): a unit's forget gate of an LSTM has the bias log(u) and its input
    gate -log(u), u uniform in [1, T_max - 1]; the gate z of a GRU has log(u). These are set in
    bias_ih, and bias_hh is 0 there.

    Parameters
    ----------
    layer : LSTM or GRU
    T_max : int
        At least 2.
    rng : None, int or numpy.random.Generator
    """
    if not isinstance(layer, LSTM | GRU):
        raise TypeError(f"layer is {_arguments.described(layer)}, must be an LSTM or a GRU")
    T_max = _checks.as_size("T_max", T_max, least=2)
    biases, generator = _biases("layer", layer), _checks.as_rng(rng)
    for bias_ih, bias_hh in biases:
        keep = np.log(generator.uniform(1, T_max - 1, layer.hidden_size))
        bias_ih[1] = keep
        bias_hh[1] = 0
        if isinstance(layer, LSTM):
            bias_ih[0] = -keep
            bias_hh[0] = 0


# ---- what they are made of


def _uniform(generator: np.random.Generator, std: float, shape: tuple[int, ...]) -> Values:
    bound = math.sqrt(3) * std
    return generator.uniform(-bound, bound, shape)


def _normal(generator: np.random.Generator, std: float, shape: tuple[int, ...]) -> Values:
    return generator.normal(0, std, shape)


def _xavier(array: Array, gain: float, gates: int, rng: Rng, draw: Callable[..., Values]) -> Array:
    _check_matrix(array)
    gain = _checks.as_real("gain", gain, 0)
    generator = _checks.as_rng(rng)
    return _fill(
        array, gates, lambda shape: draw(generator, gain * math.sqrt(2 / sum(_fans(shape))), shape)
    )


def _kaiming(
    array: Array,
    a: float,
    mode: str,
    nonlinearity: str,
    gates: int,
    rng: Rng,
    draw: Callable[..., Values],
) -> Array:
    _check_matrix(array)
    a = _checks.as_number("a", a)
    fan = ("fan_in", "fan_out").index(_checks.as_choice("mode", mode, ("fan_in", "fan_out")))
    gain = calculate_gain(nonlinearity, a)
    generator = _checks.as_rng(rng)
    return _fill(
        array, gates, lambda shape: draw(generator, gain / math.sqrt(_fans(shape)[fan]), shape)
    )


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input has."""
    return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])


def _check_matrix(array: Any, most: float = math.inf) -> None:
    _checks.check_live("array", array)
    if not 2 <= array.ndim <= most:
        must = "two axes" if most == 2 else "at least two axes"
        raise ValueError(f"array has shape {array.shape}, must have {must}")


def _fill(array: Array, gates: int, draw: Callable[[tuple[int, ...]], Values]) -> Array:
    """Fill each gate's block with what is drawn for its shape."""
    gates = _checks.as_size("gates", gates)
    if len(array) % gates:
        raise ValueError(f"gates is {gates}, must divide the {len(array)} rows of array")
    if array.size:
        for block in np.split(array, gates):
            block[...] = draw(block.shape)
    return array


def _biases(name: str, layer: Recurrent[Any]) -> list[tuple[Array, Array]]:
    """bias_ih and bias_hh of each layer and direction, seen as (gates, H)."""
    if not layer.bias:
        raise ValueError(f"{name} has bias=False, must have biases")
    pairs: list[tuple[Array, Array]] = []
    for *_, b_ih, b_hh in layer._fours:
        for key in (b_ih, b_hh):
            _checks.check_writeable(f"{name}.params[{key!r}]", layer.params[key])
        ih, hh = layer.params[b_ih], layer.params[b_hh]
        pairs.append((ih.reshape(layer._gates, -1), hh.reshape(layer._gates, -1)))
    return pairs
