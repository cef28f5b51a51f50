"""What calls accept and refuse: one table of bad calls and one of unusual but right arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cells import CELLS, GRU, LSTM, RNNS, Case, Cell, compute, states
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from tolerances import assert_same_bits

from bptt import functional, reference

Change = Callable[[Any], Any]

RNN = RNNS[0]
CASE = Case(RNN, T=5, N=3, inputs=2, H=4, dtype="float32")  # all axes differ


# ---- ways to change an argument; each also names a row of the tables


def constant(value: Any) -> Change:
    return lambda _: value


def to_dtype(dtype: str) -> Change:
    return lambda a: a.astype(dtype)


def longer(axis: int) -> Change:
    return lambda a: np.concatenate([a, a.take([0], axis)], axis)


def shorter(axis: int) -> Change:
    return lambda a: a.take(range(a.shape[axis] - 1), axis)


def misaligned(a: NDArray[Any]) -> NDArray[Any]:
    b = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    assert not b.flags.aligned
    return b


def read_only(a: NDArray[Any]) -> NDArray[Any]:
    b = a.copy()
    b.flags.writeable = False
    return b


def byte_swapped(a: NDArray[Any]) -> NDArray[Any]:
    return a.astype(a.dtype.newbyteorder())


def spaced(a: NDArray[Any]) -> NDArray[Any]:
    b = np.full([2 * n for n in a.shape], 99, a.dtype)
    view = b[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def backwards(a: NDArray[Any]) -> NDArray[Any]:
    every = tuple(slice(None, None, -1) for _ in a.shape)
    return a[every].copy()[every]


class HasArray:
    """An array in another library's clothes."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        return self.array if dtype is None else self.array.astype(dtype)


class HasDlpack:
    """An array that is to be had by DLPack alone."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def as_tensor(a: NDArray[Any]) -> Any:
    return pytest.importorskip("torch").from_numpy(a.copy())


def as_transposed_tensor(a: NDArray[Any]) -> Any:
    return pytest.importorskip("torch").from_numpy(a.T.copy()).permute(*range(a.ndim)[::-1])


# ---- bad calls


@dataclass(frozen=True)
class Bad:
    """A call with one wrong argument, and the error it must give."""

    name: str  # of the argument; the message starts with it
    what: str
    change: Change
    error: type[Exception]
    says: tuple[str, ...] = ()  # what else the message must have in it
    cells: tuple[Cell, ...] = tuple(CELLS)


def _bad_arrays() -> list[Bad]:
    rows = []
    arrays = {"x": 3, "w_ih": 2, "w_hh": 2, "b_ih": 1, "b_hh": 1, "h_0": 2, "c_0": 2}
    arrays |= {"dy": 3, "dh_n": 2, "dc_n": 2}
    for name, rank in arrays.items():
        cells = (LSTM,) if name in ("c_0", "dc_n") else tuple(CELLS)
        types: dict[str, Change] = {
            "complex": to_dtype("complex64"),
            "object": to_dtype("object"),
            "strings": to_dtype("U"),
            "a string": constant("abc"),
            "structured": lambda a: a.view([("value", a.dtype)]),
            "dates": lambda a: a.astype("i8").astype("M8[s]"),
            "a dict": constant({}),
            "an object": constant(object()),
        }
        if name in ("x", "w_ih", "w_hh"):
            types["None"] = constant(None)
        rows += [Bad(name, what, change, TypeError, (), cells) for what, change in types.items()]
        if name != "w_ih":
            says = (f"{name}.astype(np.float32)",)
            for dtype in ("float16", "float64", "longdouble", ">f8"):
                rows.append(Bad(name, dtype, to_dtype(dtype), TypeError, says, cells))
            ragged = constant([[1.0, 2.0], [3.0]])
            rows.append(Bad(name, "a ragged list", ragged, ValueError, (), cells))
        shapes: dict[str, Change] = {
            "a number": lambda a: a.ravel()[0].reshape(()),
            "one axis more": lambda a: a[None],
            "one axis less": lambda a: a.take(0, 0),
            "empty": lambda a: a[:0],
        }
        if name == "x":  # any three sizes are right for x itself
            del shapes["empty"]
        elif name == "w_ih":  # its rows decide H: the number of them is looked at first
            shapes |= {"axis 1 longer": longer(1), "axis 1 shorter": shorter(1)}
            del shapes["empty"]
            rows.append(Bad(name, "no rows", lambda a: a[:0], ValueError, ("0", "must be")))
            for what, change in {"longer": longer(0), "shorter": shorter(0)}.items():
                says, gated = ("must be", "*H"), (LSTM, GRU)
                rows.append(Bad(name, f"axis 0 {what}", change, ValueError, says, gated))
        else:
            shapes |= {f"axis {axis} longer": longer(axis) for axis in range(rank)}
            shapes |= {f"axis {axis} shorter": shorter(axis) for axis in range(rank)}
        for what, change in shapes.items():
            rows.append(Bad(name, what, change, ValueError, ("shape", "must be"), cells))
    return rows


def _out(change: Change = lambda a: a, dtype: str = "float32") -> Change:
    return lambda _: change(np.zeros((CASE.T, CASE.N, CASE.H), dtype))


BAD = [
    *_bad_arrays(),
    Bad("w_ih", "a list", lambda a: a.tolist(), TypeError, ("float32",)),
    Bad("w_ih", "a number", constant(1.0), TypeError, ("float32",)),
    *(Bad("w_ih", d, to_dtype(d), TypeError, (d,)) for d in ("int64", "bool", "float16")),
    Bad("h_0", "shapes told", longer(0), ValueError, ("(4, 4)", "(3, 4)")),
    Bad("dy", "shapes told", shorter(0), ValueError, ("(4, 3, 4)", "(5, 3, 4)")),
    Bad("nonlinearity", "None", constant(None), TypeError, cells=(RNN,)),
    Bad("nonlinearity", "a function", constant(np.tanh), TypeError, cells=(RNN,)),
    Bad("nonlinearity", "unknown", constant("Tanh"), ValueError, ("leaky_relu",), (RNN,)),
    *(
        Bad("slope", str(value), constant(value), TypeError, cells=(RNN,))
        for value in (None, "0.1", 1j, [0.1], True, np.True_)
    ),
    *(
        Bad("slope", str(value), constant(value), ValueError, cells=(RNN,))
        for value in (-0.1, float("nan"), float("inf"), -1, Fraction(-1, 3), 10**400, -(10**400))
    ),
    *(
        Bad("lengths", str(value), constant(value), TypeError)
        for value in ([1.0, 2.0, 3.0], [True, False, True], "abc", [1j, 2, 3], [None, 1, 2], {})
    ),
    Bad("lengths", "float array", lambda _: np.ones(3), TypeError),
    Bad("lengths", "bool array", lambda _: np.ones(3, bool), TypeError),
    *(
        Bad("lengths", str(value), constant(value), ValueError, ("(3,)",))
        for value in (3, [1, 2], [1, 2, 3, 4], [[1, 2, 3]])
    ),
    *(
        Bad("lengths", str(value), constant(value), ValueError)
        for value in ([[1], [1, 2]], [1, 2, 6], [1, 2, -1], [2**62, 1, 1], [-(2**63), 1, 1])
    ),
    Bad("lengths", "2**63", lambda _: np.array([1, 2, 2**63], np.uint64), ValueError),
    *(
        Bad(name, str(value), constant(value), TypeError)
        for name in ("reverse", "training")
        for value in (None, 1, 0.0, "yes", [True])
    ),
    *(
        Bad("checkpoint_every", str(value), constant(value), TypeError)
        for value in (2.0, "2", True, [2], np.True_, np.array(2))
    ),
    *(
        Bad("checkpoint_every", str(value), constant(value), ValueError, (str(value),))
        for value in (0, -1, np.int64(-1), -(2**70))
    ),
    Bad("out", "a list", _out(lambda a: a.tolist()), TypeError),
    Bad("out", "an object with __array__", _out(HasArray), TypeError),
    Bad("out", "float64", _out(dtype="float64"), TypeError, ("float32",)),
    Bad("out", "int32", _out(dtype="int32"), TypeError, ("float32",)),
    Bad("out", "byte-swapped", _out(byte_swapped), TypeError),
    *(Bad("out", f"axis {axis} longer", _out(longer(axis)), ValueError) for axis in range(3)),
    *(Bad("out", f"axis {axis} shorter", _out(shorter(axis)), ValueError) for axis in range(3)),
    Bad("out", "two axes", _out(lambda a: a[0]), ValueError, ("(3, 4)", "(5, 3, 4)")),
    Bad("out", "read-only", _out(read_only), ValueError),
    Bad("out", "last axis spaced", _out(spaced), ValueError),
    Bad("out", "Fortran", _out(np.asfortranarray), ValueError),
    Bad("out", "last axis backwards", _out(backwards), ValueError),
    Bad("out", "misaligned", _out(misaligned), ValueError),
    Bad("wrt", "a name", constant("x"), TypeError),
    Bad("wrt", "a number", constant(1), TypeError),
    Bad("wrt", "an unknown name", constant(["x", "w"]), ValueError, ("'w'",)),
    Bad("wrt", "a state the cell has not", constant(["c_0"]), ValueError, ("c_0",), (RNN, GRU)),
    Bad("wrt", "an option", constant({"lengths"}), ValueError, ("lengths",)),
]


def arguments(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a right call of forward and of backward, each argument present, in order."""
    forward, backward = replace(CASE, cell=cell).problem()
    ordered = [*cell.fields, *cell.options, "lengths", "reverse", "training"]
    ordered += ["checkpoint_every", "out"]
    forward |= {"lengths": [5, 0, 3], "training": True, "checkpoint_every": None, "out": None}
    return {name: forward[name] for name in ordered}, {**backward, "wrt": None}


def call(module: ModuleType, cell: Cell, forward: dict[str, Any], backward: dict[str, Any]) -> Any:
    return cell.backward(module, cell.forward(module, forward).cache, backward)


ROWS = [
    pytest.param(row, cell, id=f"{cell.name}-{row.name}-{row.what}")
    for row in BAD
    for cell in row.cells
]


@pytest.mark.parametrize(("row", "cell"), ROWS)
def test_a_bad_call_is_told(impl: ModuleType, row: Bad, cell: Cell) -> None:
    forward, backward = arguments(cell)
    wrong = forward if row.name in forward else backward
    wrong[row.name] = row.change(wrong[row.name])
    with pytest.raises(row.error, match=rf"^{row.name}\b") as raised:
        call(impl, cell, forward, backward)
    assert type(raised.value) is row.error
    for text in row.says:
        assert text in str(raised.value)


@pytest.mark.parametrize(("row", "cell"), ROWS)
def test_the_compiled_functions_speak_as_the_reference(row: Bad, cell: Cell) -> None:
    messages = []
    for module in (functional, reference):
        forward, backward = arguments(cell)
        wrong = forward if row.name in forward else backward
        wrong[row.name] = row.change(wrong[row.name])
        with pytest.raises(row.error) as raised:
            call(module, cell, forward, backward)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_first_fault_is_told(impl: ModuleType, cell: Cell) -> None:
    """Of two bad arguments the earlier in the signature, whatever is wrong with either."""
    faults: dict[str, list[Bad]] = {}
    for row in BAD:
        if cell in row.cells:
            faults.setdefault(row.name, []).append(row)
    for part in (0, 1):
        names = list(arguments(cell)[part])
        for first, second in itertools.pairwise(names):
            if second == "w_ih":
                continue  # shown below
            for one in (faults[first][0], faults[first][-1]):
                for two in (faults[second][0], faults[second][-1]):
                    both = arguments(cell)
                    both[part][first] = one.change(both[part][first])
                    both[part][second] = two.change(both[part][second])
                    with pytest.raises(one.error, match=rf"^{first}\b"):
                        call(impl, cell, *both)


def test_the_dtype_of_w_ih_comes_before_all(impl: ModuleType) -> None:
    x, w = np.ones((5, 3, 2), "float32"), np.ones((4, 2), "float32")
    with pytest.raises(TypeError, match=r"^w_ih\b"):
        impl.rnn_forward(None, w.astype(int), None)
    with pytest.raises(TypeError, match=r"^x\b"):
        impl.rnn_forward(None, w[0], None)
    with pytest.raises(ValueError, match=r"^x\b"):
        impl.rnn_forward(x[0], w[0], None)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cache_of_something_else(impl: ModuleType, cell: Cell) -> None:
    caches = {
        (module, other.name): other.forward(module, arguments(other)[0]).cache
        for module in (reference, functional)
        for other in CELLS
    }
    right = caches.pop((impl, cell.name))
    for wrong in [*caches.values(), None, 0, "cache", arguments(cell)[0]["x"], right.arrays()]:
        with pytest.raises(TypeError, match=r"^cache is (None|of type|that of)") as raised:
            cell.backward(impl, wrong, {})
        module = impl.__name__.removeprefix("bptt.")
        must = f"must be that of {module}.{cell.name}_forward(..., training=True)"
        assert str(raised.value).endswith(must)
    assert cell.backward(impl, right, {})["dx"].shape == (5, 3, 2)


# x has no memory behind it; y would have 2**62 bytes or more, in some rows 0 modulo 2**64
@pytest.mark.parametrize(
    ("T", "N", "inputs", "H"),
    [
        (2**30, 2**30, 0, 1),
        (2**30, 2**30, 0, 4),
        (2**30, 2**30, 1, 17),
        (2**59, 2, 1, 1),
        (2**59, 2, 1, 4),
        (2**31, 2**24, 0, 2**7),
        (2, 2**59, 1, 4),
    ],
)
@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_sizes_beyond_memory(
    impl: ModuleType, cell: Cell, T: int, N: int, inputs: int, H: int, training: bool
) -> None:
    x = as_strided(np.zeros(1, "float32"), (T, N, inputs), (0, 0, 0))
    w_ih = np.zeros((cell.gates * H, inputs), "float32")
    w_hh = np.zeros((cell.gates * H, H), "float32")
    with pytest.raises(MemoryError):
        cell.forward(impl, {"x": x, "w_ih": w_ih, "w_hh": w_hh, "training": training})


# ---- unusual, and right

UNUSUAL: dict[str, Change] = {
    "spaced": spaced,
    "backwards": backwards,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "byte-swapped": byte_swapped,
    "misaligned": misaligned,
    "misaligned and byte-swapped": lambda a: misaligned(byte_swapped(a)),
    "an object with __array__": HasArray,
    "an object with __array__, spaced": lambda a: HasArray(spaced(a)),
    "an object with __dlpack__": HasDlpack,
    "a torch tensor": as_tensor,
    "a transposed torch tensor": as_transposed_tensor,
}


def whole(a: NDArray[Any]) -> NDArray[Any]:
    return np.rint(a) + 0.0  # no -0, which integers have not


# Where the values allow it: numbers before and after
ROUNDED: dict[str, tuple[Change, Change]] = {
    "int64": (whole, to_dtype("int64")),
    "int8": (whole, to_dtype("int8")),
    "uint32, byte-swapped": (lambda a: whole(abs(a)), to_dtype(">u4")),
    "bool": (lambda a: whole(a) != 0, to_dtype("bool")),
    "a list": (lambda a: a, lambda a: a.tolist()),
    "a list of ints": (whole, lambda a: a.astype(int).tolist()),
    "a tuple of arrays": (lambda a: a, tuple),
    "one row again and again": (
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ),
    "one number again and again": (
        lambda a: np.full_like(a, a.flat[0]),
        lambda a: np.broadcast_to(a.flat[0], a.shape),
    ),
}


def assert_equal_calls(
    impl: ModuleType, cell: Cell, name: str, plain: Any, unusual: Any, dtype: str
) -> None:
    """Assert that a call gives the same bits for both forms of one argument."""
    forward, backward = replace(CASE, cell=cell, dtype=dtype).problem()
    forward["lengths"] = np.array([5, 0, 3])
    part = forward if name in forward else backward
    part[name] = plain(part[name])
    expected = compute(impl, cell, forward, backward)
    part[name] = unusual(part[name])
    for field, value in compute(impl, cell, forward, backward).items():
        assert_same_bits(value, expected[field], f"{field} for an unusual {name}")


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_arrays(impl: ModuleType, cell: Cell, dtype: str, what: str) -> None:
    for name in [*cell.fields, *cell.upstream, "lengths"]:
        assert_equal_calls(impl, cell, name, np.copy, UNUSUAL[what], dtype)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", ROUNDED)
def test_what_converts(impl: ModuleType, cell: Cell, dtype: str, what: str) -> None:
    plain, unusual = ROUNDED[what]
    for name in [*cell.fields, *cell.upstream]:
        if name == "w_ih" and not what.startswith("one"):
            continue  # is an array of floats itself

        def rounded(array: NDArray[Any]) -> NDArray[Any]:
            return np.ascontiguousarray(plain(array), dtype)

        assert_equal_calls(impl, cell, name, rounded, unusual, dtype)


@pytest.mark.parametrize(
    "value",
    [[5, 0, 3], (5, 0, 3), *(np.array([5, 0, 3], d) for d in ("i1", "u1", ">i2", ">u4", "u8"))],
    ids=repr,
)
def test_lengths(impl: ModuleType, value: Any) -> None:
    forward, _ = CASE.problem()
    expected = RNN.forward(impl, {**forward, "lengths": np.array([5, 0, 3])})
    assert_same_bits(RNN.forward(impl, {**forward, "lengths": value}).y, expected.y, "y")
    assert expected.y[4, 0].any()
    assert not expected.y[:, 1].any()


def test_no_lengths_for_no_sequences(impl: ModuleType) -> None:
    forward, _ = replace(CASE, N=0).problem()
    assert RNN.forward(impl, {**forward, "lengths": []}).y.shape == (5, 0, 4)


@pytest.mark.parametrize("flag", [np.True_, np.False_])
def test_numpy_bools(impl: ModuleType, flag: np.bool_) -> None:
    forward, _ = CASE.problem()
    result = RNN.forward(impl, {**forward, "reverse": flag, "training": flag})
    expected = RNN.forward(impl, {**forward, "reverse": bool(flag)})
    assert (result.cache is not None) is bool(flag)
    assert_same_bits(result.y, expected.y, "y")


@pytest.mark.parametrize("slope", [0, 1, np.float32(0.5), np.int64(2), Fraction(1, 2)])
def test_slope_is_any_real_number(impl: ModuleType, slope: Any) -> None:
    x, w = -np.ones((1, 1, 1)), np.ones((1, 1))
    y = impl.rnn_forward(x, w, w, nonlinearity="leaky_relu", slope=slope).y
    assert y.item() == -slope


@pytest.mark.parametrize("wrt", [("x",), ["x"], {"x"}, frozenset({"x"}), ["x", "x"]], ids=repr)
def test_wrt_is_any_collection(impl: ModuleType, wrt: Any) -> None:
    forward, backward = CASE.problem()
    cache = RNN.forward(impl, {**forward, "training": True}).cache
    gradients = RNN.backward(impl, cache, {**backward, "wrt": wrt})
    assert [name for name, value in gradients.items() if value is not None] == ["dx"]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_states_of_a_call_are_those_of_the_next(impl: ModuleType, cell: Cell) -> None:
    """What a call returns is an argument of the next as it is."""
    forward, _ = replace(CASE, cell=cell).problem()
    result = states(cell.forward(impl, forward))
    handed = {f"{s}_0": result[f"{s}_n"] for s in cell.states}
    again = cell.forward(impl, {**forward, **handed})
    assert again.y.shape == result["y"].shape
    assert not np.array_equal(again.y, result["y"])
