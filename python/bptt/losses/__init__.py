"""Losses, f(y, target, **options) -> (value, dy), to be used alone or in a step.

Options are fixed with functools.partial. That of a sequence of labels, `ctc_loss`, is in
`functional`.
"""

from .classification import binary_cross_entropy_with_logits, cross_entropy, nll_loss
from .regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]
