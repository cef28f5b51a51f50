"""Optimisers, which change parameters in place from dictionaries of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..results import Array
from .base import Optimizer


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for, as torch.optim.SGD.

    With d = g + weight_decay p: v = momentum v + (1 - dampening) d, at the first step v = d; then
    p = p - lr v, or p - lr (d + momentum v) with `nesterov`, or p - lr d without momentum.
    Polyak (1964); Sutskever et al. (2013).

    Parameters
    ----------
    params : mapping of str to array
        Live arrays, such as `model.params`.
    lr : float
        Learning rate, at least 0.
    momentum : float
        At least 0.
    dampening : float
        At least 0.
    weight_decay : float
        At least 0.
    nesterov : bool
        Needs a momentum, and no dampening.
    """

    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool

    _rule = "sgd"

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self._begin(params, locals())

    @staticmethod
    def _slots(given: Mapping[str, Any]) -> dict[str, float | None]:
        if given["nesterov"] and not (given["momentum"] > 0 and given["dampening"] == 0):
            raise ValueError("nesterov is True, must be False without momentum or with dampening")
        return {"velocity": 0.0 if given["momentum"] else None}

    def _constants(self, t: int) -> tuple[float, ...]:
        gain = 1 if t == 1 else 1 - self.dampening
        return self.lr, self.weight_decay, self.momentum, gain, self.nesterov


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
    weight_decay : float
        Times the parameter, added to the gradient; at least 0.
    """

    betas: tuple[float, float]
    eps: float
    weight_decay: float

    _rule = "adam"

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._begin(params, locals())

    @staticmethod
    def _slots(given: Mapping[str, Any]) -> dict[str, float | None]:
        return {"mean": 0.0, "mean_square": 0.0}

    def _constants(self, t: int) -> tuple[float, ...]:
        return self._with_decay(t, self.weight_decay, 1.0)

    def _with_decay(self, t: int, decay: float, shrink: float) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        # the means start at zero; what they miss of their weight at step t is beta^t
        rate, scale = self.lr / (1 - beta1**t), (1 - beta2**t) ** -0.5
        return rate, decay, shrink, 1 - beta1, beta2, 1 - beta2, scale, self.eps


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW.

    Parameters
    ----------
    params, lr, betas, eps
        As in `Adam`.
    weight_decay : float
        At each step a parameter is first multiplied by 1 - lr weight_decay; at least 0.
    """

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _constants(self, t: int) -> tuple[float, ...]:
        return self._with_decay(t, 0.0, 1 - self.lr * self.weight_decay)


class RMSprop(Optimizer):
    """The gradient over the root of its mean square (Hinton, 2012), as torch.optim.RMSprop.

    With d = g + weight_decay p: s = alpha s + (1 - alpha) d^2, u = d / (sqrt(s) + eps), and
    p = p - lr u, or with momentum b = momentum b + u, p = p - lr b.

    Parameters
    ----------
    params : mapping of str to array
        Live arrays, such as `model.params`.
    lr : float
        Learning rate, at least 0.
    alpha : float
        Decay of the mean square, in [0, 1].
    eps : float
        Added to the root, at least 0.
    weight_decay : float
        At least 0.
    momentum : float
        At least 0.
    centered : bool
        Whether s is made the variance, by the mean gradient (Graves, 2013).
    """

    alpha: float
    eps: float
    weight_decay: float
    momentum: float
    centered: bool

    _rule = "rmsprop"

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self._begin(params, locals())

    @staticmethod
    def _slots(given: Mapping[str, Any]) -> dict[str, float | None]:
        return {
            "mean_square": 0.0,
            "mean": 0.0 if given["centered"] else None,
            "velocity": 0.0 if given["momentum"] else None,
        }

    def _constants(self, t: int) -> tuple[float, ...]:
        return self.lr, self.weight_decay, self.alpha, 1 - self.alpha, self.eps, self.momentum


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares (Duchi et al., 2011), as torch.optim's.

    With d = g + weight_decay p: s = s + d^2, p = p - lr / (1 + (t-1) lr_decay) d / (sqrt(s) + eps)
    at step t = 1, 2, ...

    Parameters
    ----------
    params : mapping of str to array
        Live arrays, such as `model.params`.
    lr : float
        Learning rate, at least 0.
    lr_decay : float
        At least 0.
    weight_decay : float
        At least 0.
    initial_accumulator_value : float
        s at the start, at least 0.
    eps : float
        Added to the root, at least 0.
    """

    lr_decay: float
    weight_decay: float
    initial_accumulator_value: float
    eps: float

    _rule = "adagrad"

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self._begin(params, locals())

    @staticmethod
    def _slots(given: Mapping[str, Any]) -> dict[str, float | None]:
        return {"sum": given["initial_accumulator_value"]}

    def _constants(self, t: int) -> tuple[float, ...]:
        return self.lr / (1 + (t - 1) * self.lr_decay), self.weight_decay, self.eps
