"""Optimisers, which change parameters in place from dictionaries of gradients, and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _arguments, _checks
from .results import Array


def _betas(value: object) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"betas is {_arguments.described(value)}, must be a pair of real numbers")
    first, second = (_checks.as_real(f"betas[{i}]", beta, 0, 1) for i, beta in enumerate(value))
    if first == 1 or second == 1:
        raise ValueError(f"betas is {value!r}, must be below 1")
    return first, second


_CHECKS: dict[str, Callable[[object], Any]] = {
    "lr": lambda value: _checks.as_real("lr", value, 0),
    "momentum": lambda value: _checks.as_real("momentum", value, 0),
    "betas": _betas,
    "eps": lambda value: _checks.as_real("eps", value, 0),
}


class Optimizer:
    """What optimisers have in common.

    Attributes
    ----------
    params : dict of str to array
        The live arrays that `step` changes.
    lr : float
        The learning rate; may be set between steps, like the other hyperparameters.
    """

    lr: float

    _hyperparameters: ClassVar[tuple[str, ...]]
    _slots: ClassVar[tuple[str, ...]]  # arrays like the parameters, zero at the start

    def __init__(self, params: Mapping[str, Array], **hyperparameters: Any) -> None:
        if not isinstance(params, Mapping):
            raise TypeError(
                f"params is {_arguments.described(params)}, must be a mapping such as layer.params"
            )
        names: dict[int, str] = {}
        for name, array in params.items():
            _check_live(f"params[{name!r}]", array)
            if id(array) in names:
                raise ValueError(
                    f"params[{name!r}] is the same array as params[{names[id(array)]!r}], "
                    "must be there once"
                )
            names[id(array)] = name
        self.params = dict(params)
        for name in self._hyperparameters:
            setattr(self, name, hyperparameters[name])
        self._steps = 0
        self._kept = {
            slot: {name: np.zeros(array.shape, array.dtype) for name, array in params.items()}
            for slot in self._slots
        }

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _CHECKS[name](value) if name in _CHECKS else value)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._hyperparameters)
        return f"{type(self).__name__}({told})"

    def step(self, grads: Mapping[str, Array]) -> None:
        """Change the parameters by one step; on an error nothing has changed.

        Parameters
        ----------
        grads : mapping of str to array
            One gradient a parameter, in its shape and dtype.
        """
        _checks.check_names("grads", grads, self.params)
        checked = {}
        for name, array in self.params.items():
            label = f"grads[{name!r}]"
            grad = _checks.as_array(label, grads[name], array.dtype)
            checked[name] = _arguments.shaped(label, grad, "the parameter's", array.shape)
            _checks.check_writeable(f"params[{name!r}]", array)
        self._steps += 1
        with np.errstate(all="ignore"):  # a warning made an error would stop half-way
            for name, grad in checked.items():
                kept = (self._kept[slot][name] for slot in self._slots)
                self._update(self.params[name], grad, *kept)

    def _update(self, p: Array, g: Array, *kept: Array) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the hyperparameters, the number of steps and copies of what is kept, by name."""
        kept = {
            slot: {name: array.copy() for name, array in arrays.items()}
            for slot, arrays in self._kept.items()
        }
        return {name: getattr(self, name) for name in self._hyperparameters} | {
            "steps": self._steps,
            **kept,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the optimiser of this `state_dict()` was; on an error nothing changed."""
        names = (*self._hyperparameters, "steps", *self._slots)
        _checks.check_names("state_dict", state_dict, names)
        new = {name: _CHECKS[name](state_dict[name]) for name in self._hyperparameters}
        steps = _checks.as_size("steps", state_dict["steps"], least=0)
        self._kept = {
            slot: _checks.as_copies(f"state_dict[{slot!r}]", state_dict[slot], self.params)
            for slot in self._slots
        }
        self._steps = steps
        for name, value in new.items():
            setattr(self, name, value)


class SGD(Optimizer):
    """Gradient descent, as torch.optim.SGD: v = momentum v + g, p = p - lr v.

    Parameters
    ----------
    params : mapping of str to array
        Live arrays, such as `model.params`.
    lr : float
        Learning rate, at least 0.
    momentum : float
        At least 0.
    """

    momentum: float

    _hyperparameters = ("lr", "momentum")
    _slots = ("velocity",)

    def __init__(
        self, params: Mapping[str, Array], lr: float = 1e-3, momentum: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum)

    def _update(self, p: Array, g: Array, *kept: Array) -> None:
        (v,) = kept
        v *= self.momentum
        v += g
        p -= self.lr * v


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), as torch.optim.Adam.

    Parameters
    ----------
    params : mapping of str to array
        Live arrays, such as `model.params`.
    lr : float
        Learning rate, at least 0.
    betas : pair of float
        Decay of the means of gradient and squared gradient, in [0, 1).
    eps : float
        Added to the root of the mean square, at least 0.
    """

    betas: tuple[float, float]
    eps: float

    _hyperparameters = ("lr", "betas", "eps")
    _slots = ("mean", "mean_square")

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps)

    def _update(self, p: Array, g: Array, *kept: Array) -> None:
        m, v = kept
        beta1, beta2 = self.betas
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * g * g
        # m and v start at zero; what they miss of their weight at step t is beta^t
        root = np.sqrt(v / (1 - beta2**self._steps))
        root += self.eps
        p -= self.lr / (1 - beta1**self._steps) * m / root


def _norm(array: NDArray[np.float64], p: float) -> float:
    # no dot product: BLAS would wake threads of its own, which keep the kernels' waiting
    if p == 2:
        return math.sqrt(np.square(array).sum())
    return float(np.linalg.norm(array.ravel(), p))


def clip_grad_norm_(grads: Mapping[str, Array], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale gradients in place so that the norm of all together is at most `max_norm`.

    As torch.nn.utils.clip_grad_norm_: all are multiplied by max_norm / (norm + 1e-6) where that is
    below 1. Pascanu et al. (2013).

    Parameters
    ----------
    grads : mapping of str to array
        Changed in place.
    max_norm : float
        At least 0.
    norm_type : float
        p of the p-norm, above 0; math.inf for the largest absolute value.

    Returns
    -------
    float
        The norm before. If it is NaN, so are all gradients afterwards.
    """
    if not isinstance(grads, Mapping):
        raise TypeError(f"grads is {_arguments.described(grads)}, must be a mapping by name")
    for name, array in grads.items():
        _check_live(f"grads[{name!r}]", array)
    max_norm = _checks.as_real("max_norm", max_norm, 0)
    norm_type = _checks.as_real("norm_type", norm_type, 0)
    if not norm_type:
        raise ValueError("norm_type is 0, must be above 0")
    with np.errstate(all="ignore"):
        # in float64: exploded float32 gradients must not overflow where clipping is to help
        norms = [
            _norm(array.astype(np.float64, copy=False), norm_type)
            for array in grads.values()
            if array.size
        ]
        norm = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
        factor = max_norm / (norm + 1e-6)
        if not factor >= 1:  # also where it is NaN
            for array in grads.values():
                np.multiply(array, factor, out=array)
    return norm


def _check_live(label: str, array: object) -> None:
    """Raise unless `array` can be changed in place."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{label} is {_arguments.described(array)}, must be an ndarray")
    _checks.as_float_array(label, array)
    _checks.check_writeable(label, array)
