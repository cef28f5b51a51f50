"""The random generators that the layers of a model hold, for their dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .module import Module


def reseed(model: Module, seed: np.random.Generator) -> None:
    """Give each layer a generator of its own, drawn from `seed`.

    Those that it had are left as they are: they may be the caller's, or be shared by layers.
    """
    holders = _holders(model)
    for (layer, name), generator in zip(holders, seed.spawn(len(holders)), strict=True):
        setattr(layer, name, generator)


def states(model: Module) -> list[dict[str, Any]]:
    """Return the states of all generators, in a fixed order."""
    return [dict(getattr(layer, name).bit_generator.state) for layer, name in _holders(model)]


def set_states(model: Module, states: Sequence[dict[str, Any]]) -> None:
    """Continue where the generators were when `states` told their states."""
    for (layer, name), state in zip(_holders(model), states, strict=True):
        getattr(layer, name).bit_generator.state = state


def _holders(model: Module) -> list[tuple[Module, str]]:
    return [
        (layer, name)
        for layer in model.modules()
        for name, value in vars(layer).items()
        if isinstance(value, np.random.Generator)
    ]
