"""Types of the compiled module, which is private: see `bptt.functional` and `bptt.settings`."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from bptt.results import Array
from bptt.results import Cache as CacheProtocol

__version__: str
compiler: str

class Cache:
    def arrays(self) -> dict[str, Array]: ...

class Stream:
    def __init__(
        self,
        cell: str,
        weights: Sequence[Sequence[Array | None]],
        batch: int,
        nonlinearity: str,
        slope: float,
    ) -> None: ...
    def step(self, x: npt.ArrayLike, out: Array | None = None) -> Array: ...
    def steps(self, x: npt.ArrayLike, out: Array | None = None) -> Array: ...
    def get_state(self) -> list[Array]: ...
    def set_state(self, h: npt.ArrayLike, c: npt.ArrayLike | None = None) -> None: ...
    def clear(self, chosen: npt.NDArray[np.bool_]) -> None: ...

def rnn_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None,
    b_hh: npt.ArrayLike | None,
    h_0: npt.ArrayLike | None,
    nonlinearity: str,
    slope: float,
    lengths: npt.ArrayLike | None,
    reverse: bool,
    training: bool,
    checkpoint_every: int | None,
    out: Array | None,
    /,
) -> tuple[Array, Array, Cache | None]: ...
def lstm_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None,
    b_hh: npt.ArrayLike | None,
    h_0: npt.ArrayLike | None,
    c_0: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    reverse: bool,
    training: bool,
    checkpoint_every: int | None,
    out: Array | None,
    /,
) -> tuple[Array, Array, Array, Cache | None]: ...
def gru_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None,
    b_hh: npt.ArrayLike | None,
    h_0: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    reverse: bool,
    training: bool,
    checkpoint_every: int | None,
    out: Array | None,
    /,
) -> tuple[Array, Array, Cache | None]: ...
def rnn_backward(
    cache: CacheProtocol,
    dy: npt.ArrayLike | None,
    dh_n: npt.ArrayLike | None,
    wrt: Collection[str] | None,
    /,
) -> tuple[
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
]: ...
def lstm_backward(
    cache: CacheProtocol,
    dy: npt.ArrayLike | None,
    dh_n: npt.ArrayLike | None,
    dc_n: npt.ArrayLike | None,
    wrt: Collection[str] | None,
    /,
) -> tuple[
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
]: ...
def gru_backward(
    cache: CacheProtocol,
    dy: npt.ArrayLike | None,
    dh_n: npt.ArrayLike | None,
    wrt: Collection[str] | None,
    /,
) -> tuple[
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
    Array | None,
]: ...
def cells() -> dict[str, tuple[int, int]]: ...  # gates and states of each
def ctc_loss(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int,
    zero_infinity: bool,
    /,
) -> tuple[float, Array]: ...
def update(
    rule: str,
    constants: Sequence[float],
    params: list[Array],
    grads: list[Array],
    kept: list[list[Array] | None],
) -> bool: ...
def sum_of_squares(x: Array) -> float: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def openmp_runtime() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def cgroup_cpus(membership: str, mount: str) -> int: ...
def set_always_share(on: bool) -> None: ...
def get_flush_denormal() -> bool: ...
def set_flush_denormal(mode: bool) -> None: ...
def free_memory() -> None: ...
def new_array(shape: Sequence[int], dtype: np.dtype[np.floating]) -> Array: ...
def math_exp(x: npt.NDArray[np.floating]) -> Array: ...
def math_sigmoid(x: npt.NDArray[np.floating]) -> Array: ...
def math_tanh(x: npt.NDArray[np.floating]) -> Array: ...
