"""bptt.diagnostics: norms as PyTorch has them, radii and shares that are known before."""

import doctest
import math
import sys

import numpy as np
import pytest
from parity import assert_close, normal, recorded_wrt

import bptt
from bptt import diagnostics, functional
from bptt.diagnostics import gradient_flow, plot_gradient_flow

LENGTHS = [5, 7, 1, 6]


def small(kind, backend="compiled", **options):
    return getattr(bptt, kind)(3, 4, rng=0, dtype=np.float64, backend=backend, **options)


def classifier(kind, backend):
    return bptt.Sequential(
        small(kind, backend, num_layers=2, batch_first=True),
        bptt.LastStep(batch_first=True),
        bptt.Linear(4, 2, rng=1, dtype=np.float64),
    )


# ---- norms of dL/dh_t


def torch_norms(torch, model, x, target):
    """Norms (L, T) of dL/dh_t: PyTorch's cells step by step, one sequence after the other."""
    layer, _, linear = model
    squares = np.zeros((layer.num_layers, x.shape[1]))
    for n, length in enumerate(LENGTHS):
        states = []
        rows = list(torch.from_numpy(x[n, :length, None]))
        for k in range(layer.num_layers):
            cell = getattr(torch.nn, f"{type(layer).__name__}Cell")(rows[0].shape[-1], 4).double()
            theirs = {name: layer.params[f"{name}_l{k}"] for name in cell.state_dict()}
            cell.load_state_dict({name: torch.from_numpy(w) for name, w in theirs.items()})
            state = None
            for t, row in enumerate(rows):
                state = cell(row, state)
                rows[t] = state[0] if isinstance(state, tuple) else state
                rows[t].retain_grad()
            states.append(list(rows))
        weight, bias = (torch.from_numpy(linear.params[name]) for name in ("weight", "bias"))
        y = torch.nn.functional.linear(rows[-1], weight, bias)
        loss = torch.nn.functional.cross_entropy(y, torch.tensor([target[n]])) / len(LENGTHS)
        loss.backward()
        for k, t in np.ndindex(len(states), length):
            squares[k, t] += float(states[k][t].grad.square().sum())
    return np.sqrt(squares)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_norms_equal_torch(torch, backend, kind):
    model, x, target = classifier(kind, backend), normal((4, 7, 3)), [0, 1, 1, 0]
    flow = gradient_flow(model, x, target, bptt.cross_entropy, lengths=LENGTHS)
    assert [(layer.name, layer.kind) for layer in flow.layers] == [("0.l0", kind), ("0.l1", kind)]
    expected = torch_norms(torch, model, x, target)
    assert_close("training", np.array([layer.dh for layer in flow.layers]), expected)


def test_a_gradient_that_neither_underflows_nor_overflows():
    """The squares of these norms are beyond float64."""
    for factor in (1e-10, 1e10):
        rnn = bptt.RNN(1, 1, nonlinearity="identity", dtype=np.float64)
        rnn.params["weight_hh_l0"][:] = factor
        dy = np.zeros((31, 1, 1))
        dy[-1] = 3
        (layer,) = gradient_flow(rnn, 0 * dy, dy=dy).layers
        np.testing.assert_allclose(layer.dh, 3 * factor ** np.arange(30.0, -1, -1), rtol=1e-13)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_directions_and_layers_are_told_apart(kind):
    """The loss is one y of one direction: only what that has read is felt."""
    model = small(kind, num_layers=2, bidirectional=True)
    dy = np.zeros((6, 2, 8))
    dy[3, :, 4:] = 1  # the upper layer in reverse
    flow = {layer.name: layer.dh for layer in gradient_flow(model, normal((6, 2, 3)), dy=dy).layers}
    assert list(flow) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert not flow["l1"].any()
    assert not flow["l1_reverse"][:3].any()
    assert flow["l1_reverse"][3] == pytest.approx(math.sqrt(8))
    assert flow["l1_reverse"][4:].all()
    assert flow["l0"].all()
    assert not flow["l0_reverse"][:3].any()
    assert flow["l0_reverse"][3:].all()


class Wrapped(bptt.Module):
    """A container of one's own."""

    stateful = True

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self._params = {f"inside.{name}": array for name, array in layer.params.items()}

    def vjp(self, x, state=None):
        y, end, pullback = self.layer.vjp(x, state)

        def outer(dy=None, dstate=None, wrt=None):
            g = pullback(dy, dstate, wrt)
            return g._replace(params={f"inside.{name}": a for name, a in g.params.items()})

        return y, end, outer


def test_it_sees_into_any_container(backend):
    inner = small("GRU", backend)
    outer = bptt.Sequential(bptt.Sequential(Wrapped(inner)), bptt.Dropout(0.0))
    dy = normal((5, 2, 4))
    direct, wrapped = (gradient_flow(m, normal((5, 2, 3)), dy=dy) for m in (inner, outer))
    assert [layer.name for layer in wrapped.layers] == ["0.0.inside.l0"]
    np.testing.assert_array_equal(wrapped.layers[0].dh, direct.layers[0].dh)
    assert wrapped.layers[0].gates == direct.layers[0].gates


def test_checkpoints_change_nothing(backend):
    call = {"x": normal((70, 3, 3)), "dy": normal((70, 3, 4)), "lengths": [70, 0, 33]}
    kept, again = (
        gradient_flow(small("LSTM", backend, checkpoint_every=k), **call) for k in (None, 21)
    )
    np.testing.assert_array_equal(again.layers[0].dh, kept.layers[0].dh)
    assert again.layers[0].gates == kept.layers[0].gates


# ---- loss, parameters, and what is left behind


def test_loss_and_parameters_are_those_of_a_training_step(backend):
    model, x, target = classifier("LSTM", backend), normal((4, 7, 3)), [0, 1, 1, 0]
    before = model.state_dict()
    flow = gradient_flow(model, x, target, bptt.cross_entropy, lengths=LENGTHS)
    value, grads = bptt.value_and_grad(model, bptt.cross_entropy)(x, target, lengths=LENGTHS)
    assert flow.loss == value
    assert flow.params == pytest.approx({k: np.linalg.norm(g) for k, g in grads.items()}, rel=1e-14)
    assert list(flow.params) == list(model.params)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_loss_and_its_dy_give_the_same(backend):
    model, x, target = small("GRU", backend), normal((6, 2, 3)), normal((6, 2, 4), seed=1)
    state = normal((1, 2, 4), seed=2)
    by_loss = gradient_flow(model, x, target, bptt.mse_loss, state=state)
    by_dy = gradient_flow(model, x, dy=bptt.mse_loss(model(x, state)[0], target)[1], state=state)
    assert by_dy.loss is None
    assert by_dy.params == by_loss.params
    np.testing.assert_array_equal(by_dy.layers[0].dh, by_loss.layers[0].dh)


def test_pullbacks_ask_for_no_more_after_it(monkeypatch):
    asked = recorded_wrt(monkeypatch, functional, "gru_backward")
    model, x = small("GRU"), normal((6, 2, 3))
    gradient_flow(model, x, dy=normal((6, 2, 4)))
    with pytest.raises(ValueError, match=r"^dy has shape"):
        gradient_flow(model, x, dy=normal((6, 2, 5)))
    model.vjp(x)[2](normal((6, 2, 4)), wrt=["params"])
    assert asked[0] - asked[1] == {"h"}
    assert len(asked) == 2


# ---- w_hh and its gates


def test_spectral_radius_of_each_block():
    """Eigenvalues of a block: those of a turn by any angle, times its own factor; 0 and -0.1."""
    for kind, factors in (("RNN", [0.9]), ("LSTM", [0.5, 0.7, 1.1, 1.3]), ("GRU", [0.2, 0.3, 2])):
        model = small(kind)
        w_hh = model.params["weight_hh_l0"]
        w_hh[:] = 0
        for block, factor in zip(np.split(w_hh, len(factors)), factors, strict=True):
            block[:2, :2] = factor * np.array([[0.6, -0.8], [0.8, 0.6]])
            block[:2, 3] = 50  # a shear: it has a norm, but no eigenvalue
            block[3, 3] = -0.1
        (layer,) = gradient_flow(model, normal((3, 2, 3)), dy=normal((3, 2, 4))).layers
        assert [gate.radius for gate in layer.gates.values()] == pytest.approx(factors, rel=1e-12)


def shares(model, lengths=None):
    """Low and high of each gate of a model of 4 units whose biases alone act."""
    x = normal((5, 4, 3))
    (layer,) = gradient_flow(model, x, dy=normal((5, 4, 4)), lengths=lengths).layers
    return {letter: (gate.low, gate.high) for letter, gate in layer.gates.items()}


def of_biases(kind, *rows, **options):
    model = small(kind, **options)
    for array in model.params.values():
        array[:] = 0
    model.params["bias_ih_l0"][:] = np.ravel(rows)
    return model


SIGMOID_ENDS = [-2.19, -2.2, 2.19, 2.2]  # sigmoid there: 0.1007, 0.0998, 0.8993, 0.9002
TANH_ENDS = [-1.09, -1.1, 1.09, 1.1]  # tanh there: -0.797, -0.800, 0.797, 0.800


@pytest.mark.parametrize("lengths", [None, [5, 0, 2, 1]])
def test_shares_of_saturated_gates(lengths, backend):
    """What lies past a sequence's end counts for nothing: as a gate's zeros it would count low."""
    low, high, no = [-9.0] * 4, [9.0] * 4, [0.0] * 4
    lstm = of_biases("LSTM", SIGMOID_ENDS, high, TANH_ENDS, low, backend=backend)
    expected = {"i": (0.25, 0.25), "f": (0, 1), "g": (0.25, 0.25), "o": (1, 0)}
    assert shares(lstm, lengths) == expected
    gru = of_biases("GRU", [0, 0, 0, 9.0], SIGMOID_ENDS, no, backend=backend)
    assert shares(gru, lengths) == {"r": (0, 0.25), "z": (0.25, 0.25), "n": (0, 0)}
    for f, biases, found in [
        ("tanh", TANH_ENDS, (0.25, 0.25)),
        ("sigmoid", SIGMOID_ENDS, (0.25, 0.25)),
        ("relu", [0, -1, 1e-3, 9], (0.5, 0)),
        ("leaky_relu", [0, -1, 1e-3, 9], (0.5, 0)),
        ("identity", [0, -1, 1e-3, 9], (0, 0)),
    ]:
        rnn = of_biases("RNN", biases, nonlinearity=f, backend=backend)
        assert shares(rnn, lengths) == {"h": found}, f


# ---- edges and errors


@pytest.mark.parametrize("T", [0, 1, 2])
@pytest.mark.parametrize("N", [0, 1])
def test_empty_and_tiny_calls(T, N):
    flow = gradient_flow(small("LSTM"), np.zeros((T, N, 3)), dy=np.ones((T, N, 4)))
    assert flow.layers[0].dh.shape == (T,)
    assert math.isnan(flow.layers[0].gates["f"].low) == (T * N == 0)
    assert "l0" in repr(flow)


def test_an_unbatched_sequence_is_a_batch_of_one():
    model, x, dy = small("GRU"), normal((6, 3)), normal((6, 4))
    alone, batch = (gradient_flow(model, a, dy=d) for a, d in ((x, dy), (x[:, None], dy[:, None])))
    np.testing.assert_array_equal(alone.layers[0].dh, batch.layers[0].dh)


def test_nan_goes_through():
    model, x = small("RNN", nonlinearity="identity"), normal((6, 2, 3))
    model.params["weight_hh_l0"][:] = np.nan
    flow = gradient_flow(model, x, dy=np.ones((6, 2, 4)))
    assert np.isnan(flow.layers[0].dh[:5]).all()
    assert math.isnan(flow.layers[0].gates["h"].radius)
    model.params["weight_hh_l0"][:] = np.inf
    assert not np.isfinite(gradient_flow(model, x, dy=np.ones((6, 2, 4))).layers[0].dh[:5]).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "gru"}, TypeError, "model is of type str"),
        ({"model": bptt.Linear(3, 4, dtype="float64")}, ValueError, "model is Linear.* recurrent"),
        ({"loss": None}, TypeError, "loss is None, must be a function"),
        ({"dy": normal((6, 2, 4))}, ValueError, "dy is given, must be None"),
        ({"target": None, "loss": None, "dy": [1.0]}, ValueError, "dy has shape"),
        ({"target": [1.0]}, ValueError, "target has shape"),
        ({"lengths": [1]}, ValueError, "lengths has shape"),
        ({"state": normal((1, 2, 3))}, ValueError, "state has shape"),
    ],
)
def test_bad_arguments(arguments, error, message):
    good = {"model": small("GRU"), "x": normal((6, 2, 3)), "target": normal((6, 2, 4))}
    with pytest.raises(error, match=f"^{message}"):
        gradient_flow(**{**good, "loss": bptt.mse_loss, **arguments})


# ---- table and picture


def test_the_table(backend):
    rnn = bptt.RNN(1, 1, nonlinearity="identity", dtype=np.float64, backend=backend)
    rnn.params["weight_hh_l0"][:] = 0.5
    dy = np.zeros((9, 1, 1))
    dy[-1] = 1
    rows = [
        line.split() for line in repr(gradient_flow(rnn, np.ones((9, 1, 1)), dy=dy)).split("\n")
    ]
    assert ["GradientFlow", "of", "dy"] in rows
    assert ["l0", "RNN", "3.9e-03", "1.6e-02", "6.2e-02", "2.5e-01", "1.0e+00"] in rows
    assert ["l0", "h", "0.5", "0%", "0%"] in rows
    assert any(row[:1] == ["weight_hh_l0"] for row in rows)


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(diagnostics) == (0, 7)


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="draws with matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_the_picture(pyplot, tmp_path):
    model = small("GRU", num_layers=2)
    dy = np.zeros((6, 2, 4))
    dy[3] = 1  # nothing comes back from steps 4 and 5
    flow = gradient_flow(model, normal((6, 2, 3)), dy=dy)
    _, given = pyplot.subplots()
    assert plot_gradient_flow(flow, given) is given
    for ax in (given, plot_gradient_flow(flow)):
        assert ax.get_yscale() == "log"
        assert [line.get_label() for line in ax.lines] == ["GRU l0", "GRU l1"]
        for line, layer in zip(ax.lines, flow.layers, strict=True):
            shown = line.get_ydata()
            np.testing.assert_array_equal(shown[:4], layer.dh[:4])
            assert np.isnan(shown[4:]).all()
        ax.figure.savefig(tmp_path / "flow.png")


def test_the_picture_of_nothing(pyplot, tmp_path):
    flow = gradient_flow(small("RNN"), normal((6, 2, 3)), dy=np.zeros((6, 2, 4)))
    plot_gradient_flow(flow).figure.savefig(tmp_path / "flow.png")


def test_without_matplotlib(monkeypatch):
    flow = gradient_flow(small("RNN"), normal((6, 2, 3)), dy=np.zeros((6, 2, 4)))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"^plot_gradient_flow needs matplotlib: pip install"):
        plot_gradient_flow(flow)
