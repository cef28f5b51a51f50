"""The optimisers in NumPy, one formula a line: what the compiled pass is held to.

Each takes a parameter p, its gradient g, the step t = 1, 2, ... and what is kept of earlier steps,
which it changes, and returns the new p. Its other arguments are those of the class.
"""

from __future__ import annotations

import numpy as np

import bptt


def sgd(p, g, t, kept, *, lr, momentum, dampening, weight_decay, nesterov):
    d = g + weight_decay * p
    if momentum:
        v = d if t == 1 else momentum * kept["v"] + (1 - dampening) * d
        kept["v"] = v
        d = d + momentum * v if nesterov else v
    return p - lr * d


def adam(p, g, t, kept, *, lr, betas, eps, weight_decay):
    beta1, beta2 = betas
    d = g + weight_decay * p
    kept["m"] = m = beta1 * kept.get("m", 0) + (1 - beta1) * d
    kept["v"] = v = beta2 * kept.get("v", 0) + (1 - beta2) * d**2
    return p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def adamw(p, g, t, kept, *, lr, weight_decay, **others):
    return adam(p - lr * weight_decay * p, g, t, kept, lr=lr, weight_decay=0, **others)


def rmsprop(p, g, t, kept, *, lr, alpha, eps, weight_decay, momentum, centered):
    d = g + weight_decay * p
    kept["s"] = variance = alpha * kept.get("s", 0) + (1 - alpha) * d**2
    if centered:
        kept["m"] = m = alpha * kept.get("m", 0) + (1 - alpha) * d
        variance = variance - m**2
    kept["u"] = u = momentum * kept.get("u", 0) + d / (np.sqrt(variance) + eps)
    return p - lr * u


def adagrad(p, g, t, kept, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps):
    d = g + weight_decay * p
    kept["s"] = s = kept.get("s", initial_accumulator_value) + d**2
    return p - lr / (1 + (t - 1) * lr_decay) * d / (np.sqrt(s) + eps)


FORMULAS = {
    bptt.SGD: sgd,
    bptt.Adam: adam,
    bptt.AdamW: adamw,
    bptt.RMSprop: rmsprop,
    bptt.Adagrad: adagrad,
}
