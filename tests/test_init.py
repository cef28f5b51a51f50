"""Initialisation: distributions with fixed seeds, gate by gate, and what is refused."""

import math
import re

import numpy as np
import pytest
from parity import assert_same, normal, numbers

import bptt
from bptt import init

DTYPES = [np.float32, np.float64]
RANDOM = {
    "orthogonal": init.orthogonal_,
    "xavier uniform": init.xavier_uniform_,
    "xavier normal": init.xavier_normal_,
    "kaiming uniform": init.kaiming_uniform_,
    "kaiming normal": init.kaiming_normal_,
}
LAYERS = {
    "rnn": bptt.RNN(3, 5, 2, rng=0),
    "lstm": bptt.LSTM(3, 5, 2, bidirectional=True, rng=0),
    "gru": bptt.GRU(3, 5, rng=0, dtype=np.float64),
}


def kolmogorov_smirnov(sample, distribution):
    """The largest distance of the sample's distribution function from a true one, times sqrt(n).

    Above 1.95 with probability 0.001.
    """
    x = np.sort(sample, axis=None)
    steps = np.arange(x.size + 1) / x.size
    true = distribution(x)
    return math.sqrt(x.size) * max((steps[1:] - true).max(), (true - steps[:-1]).max())


def uniform(bound):
    return lambda x: np.clip((x / bound + 1) / 2, 0, 1)


def gaussian(std):
    return lambda x: np.array([(1 + math.erf(value / std / math.sqrt(2))) / 2 for value in x.flat])


every_fill = pytest.mark.parametrize("fill", RANDOM.values(), ids=RANDOM)


# ---- what is drawn


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1), (4, 3, 2)])
@pytest.mark.parametrize("gates", [1, 3])
def test_blocks_are_orthogonal(shape, gates, dtype):
    array = np.full((gates * shape[0], *shape[1:]), np.nan, dtype)
    assert init.orthogonal_(array, 1.5, gates=gates, rng=0) is array
    blocks = array.astype(np.float64).reshape(gates, shape[0], -1) / 1.5
    for block in blocks:
        small = block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block
        assert np.abs(small - np.eye(len(small))).max() < 8 * np.finfo(dtype).eps
    assert len({block.tobytes() for block in blocks}) == gates


def test_orthogonal_matrices_are_uniformly_distributed():
    """Of Haar's measure are an entry, uniform in 3 dimensions, the determinant, and the trace of
    the product with any fixed orthogonal matrix, whose distribution does not change by it.
    """
    generator = numbers(0)
    n = 4000
    draws = init.orthogonal_(np.empty((3 * n, 3)), gates=n, rng=generator).reshape(n, 3, 3)
    for i in range(3):
        for j in range(3):  # Archimedes: each coordinate of a point on the sphere is uniform
            assert kolmogorov_smirnov(draws[:, i, j], uniform(1)) < 1.95
    positive = np.count_nonzero(np.linalg.det(draws) > 0)
    assert abs(positive - n / 2) < 3.3 * math.sqrt(n / 4)
    # the trace of a rotation by an angle that is uniform up to the weight 1 - cos
    rotations = draws * np.sign(np.linalg.det(draws))[:, None, None]
    for fixed in (np.eye(3), np.linalg.qr(normal((3, 3), seed=5))[0]):
        fixed = fixed * np.sign(np.linalg.det(fixed))
        cosine = (np.trace(rotations @ fixed, axis1=1, axis2=2) - 1) / 2
        angle = np.arccos(np.clip(cosine, -1, 1))
        assert kolmogorov_smirnov(angle, lambda a: (a - np.sin(a)) / math.pi) < 1.95


@pytest.mark.parametrize("dtype", DTYPES)
def test_identities(dtype):
    array = np.full((10, 4), np.nan, dtype)
    assert init.eye_(array, gates=2) is array
    assert np.array_equal(array, np.vstack([np.eye(5, 4)] * 2))


@pytest.mark.parametrize("gates", [1, 4])
@pytest.mark.parametrize("gain", [1.0, 2.5])
@pytest.mark.parametrize("shape", [(60, 40), (12, 10, 20)])
def test_xavier(shape, gain, gates):
    fan_in, fan_out = math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    std = gain * math.sqrt(2 / (fan_in + fan_out))
    array = np.empty((gates * shape[0], *shape[1:]))
    init.xavier_uniform_(array, gain, gates=gates, rng=0)
    assert kolmogorov_smirnov(array, uniform(math.sqrt(3) * std)) < 1.95
    init.xavier_normal_(array, gain, gates=gates, rng=0)
    assert kolmogorov_smirnov(array, gaussian(std)) < 1.95


@pytest.mark.parametrize("gates", [1, 4])
@pytest.mark.parametrize("shape", [(60, 40), (12, 10, 20)])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("arguments", "gain"),
    [
        ({}, math.sqrt(2)),
        ({"a": 1.0}, 1),
        ({"nonlinearity": "relu"}, math.sqrt(2)),
        ({"nonlinearity": "tanh"}, 5 / 3),
    ],
)
def test_kaiming(arguments, gain, mode, shape, gates):
    fans = {"fan_in": math.prod(shape[1:]), "fan_out": shape[0] * math.prod(shape[2:])}
    std = gain / math.sqrt(fans[mode])
    array = np.empty((gates * shape[0], *shape[1:]))
    init.kaiming_uniform_(array, mode=mode, gates=gates, rng=0, **arguments)
    assert kolmogorov_smirnov(array, uniform(math.sqrt(3) * std)) < 1.95
    init.kaiming_normal_(array, mode=mode, gates=gates, rng=0, **arguments)
    assert kolmogorov_smirnov(array, gaussian(std)) < 1.95


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains_equal_torchs(torch, name):
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    expected = torch.nn.init.calculate_gain("leaky_relu", 0.3)
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(expected, rel=1e-15)


@every_fill
def test_a_seed_means_the_same_values_in_both_dtypes_and_any_layout(fill):
    double = fill(np.empty((6, 4)), gates=2, rng=3)
    assert np.array_equal(fill(np.empty((6, 4), np.float32), gates=2, rng=3), double.astype("f"))
    assert np.array_equal(fill(np.empty((4, 6)).T, gates=2, rng=numbers(3)), double)
    assert not np.array_equal(fill(np.empty((6, 4)), gates=2, rng=4), double)
    assert not np.array_equal(fill(np.empty((6, 4))), fill(np.empty((6, 4))))
    assert fill(np.empty((0, 4))).size == fill(np.empty((4, 0))).size == 0


# ---- layers


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_weights_gate_by_gate(name):
    layer = LAYERS[name]
    before = layer.state_dict()
    init.recurrent_(layer, init.orthogonal_, gain=0.5, rng=0)
    blocks = [
        array.astype(np.float64).reshape(-1, 5, 5)
        for key, array in layer.params.items()
        if key.startswith("weight_hh")
    ]
    blocks = np.concatenate(blocks)
    assert np.abs(blocks @ blocks.swapaxes(1, 2) - 0.25 * np.eye(5)).max() < 1e-6
    assert len({block.tobytes() for block in blocks}) == len(blocks)  # one rng for all
    init.recurrent_(layer, init.eye_)
    for key, array in layer.params.items():
        if key.startswith("weight_hh"):
            assert np.array_equal(
                array.reshape(-1, 5, 5), np.broadcast_to(np.eye(5), (len(array) // 5, 5, 5))
            )
        else:
            assert np.array_equal(array, before[key])


def test_forget_gate_bias():
    """What reaches the forget gate, and nothing else, is the value."""
    lstm = bptt.LSTM(3, 4, 2, bidirectional=True, rng=0)
    before = lstm.state_dict()
    init.forget_gate_bias_(lstm, 1.5)
    for key, array in lstm.params.items():
        if key.startswith("bias"):
            assert np.all(array[4:8] == (1.5 if "bias_ih" in key else 0))
            array[4:8] = before[key][4:8]
    assert_same(dict(lstm.params), before)


def test_a_forget_gate_bias_keeps_the_cell():
    """With no other weights c decays by sigmoid(value) a step."""
    lstm = bptt.LSTM(1, 3, rng=0, dtype=np.float64)
    for array in lstm.params.values():
        array[:] = 0
    init.forget_gate_bias_(lstm, 2.0)
    zero = np.zeros((1, 1, 3))
    _, (_, c) = lstm(np.zeros((7, 1, 1)), (zero, zero + 1))
    assert c == pytest.approx((1 / (1 + math.exp(-2))) ** 7, rel=1e-14)


@pytest.mark.parametrize("kind", [bptt.LSTM, bptt.GRU])
def test_chrono_remembers_for_times_that_are_uniform(kind):
    """With no weights a state decays by 1 - 1/(1+u) a step, so that its time scale is 1 + u."""
    layer = kind(1, 600, rng=0, dtype=np.float64)
    for array in layer.params.values():
        array[:] = 0
    init.chrono_(layer, 6, rng=1)
    start = np.ones((1, 1, 600))
    state = layer(np.zeros((1, 1, 1)), start if kind is bptt.GRU else (0 * start, start))[1]
    kept = state if kind is bptt.GRU else state[1]
    u = 1 / (1 - kept) - 1
    assert kolmogorov_smirnov(u, lambda x: np.clip((x - 1) / 4, 0, 1)) < 1.95
    if kind is bptt.LSTM:
        biases = layer.params["bias_ih_l0"] + layer.params["bias_hh_l0"]
        assert np.array_equal(biases[:600], -biases[600:1200])


@pytest.mark.parametrize("kind", [bptt.LSTM, bptt.GRU])
def test_chrono_leaves_the_other_gates_alone(kind):
    layer = kind(2, 3, 2, rng=0)
    before = layer.state_dict()
    init.chrono_(layer, 20, rng=1)
    first, last = (0, 6) if kind is bptt.LSTM else (3, 6)
    drawn = [array[first:last].copy() for name, array in layer.params.items() if "bias_ih" in name]
    assert not np.array_equal(*drawn)
    for name, array in layer.params.items():
        if "bias" in name:
            assert "bias_ih" in name or not array[first:last].any()
            array[first:last] = before[name][first:last]
    assert_same(dict(layer.params), before)


# ---- what is refused


@pytest.mark.parametrize("fill", [*RANDOM.values(), init.eye_], ids=[*RANDOM, "eye"])
@pytest.mark.parametrize(
    ("array", "arguments", "error", "message"),
    [
        ([[1.0]], {}, TypeError, "array is of type list"),
        (np.zeros((2, 2), int), {}, TypeError, "array has dtype int64"),
        (np.broadcast_to(1.0, (2, 2)), {}, ValueError, "array is read-only"),
        (np.ones(3), {}, ValueError, "array has shape (3,)"),
        (np.ones((4, 2)), {"gates": 3}, ValueError, "gates is 3, must divide the 4 rows"),
        (np.ones((4, 2)), {"gates": 0}, ValueError, "gates is 0"),
    ],
)
def test_a_refused_fill_changes_nothing(fill, array, arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        fill(array, **arguments)
    assert np.all(np.asarray(array) == np.asarray(array).flat[0])


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (init.eye_, {"array": np.ones((2, 2, 2))}, ValueError, "array has shape (2, 2, 2)"),
        (init.orthogonal_, {"gain": -1}, ValueError, "gain is -1"),
        (init.orthogonal_, {"rng": -1}, ValueError, "rng is -1"),
        (init.xavier_normal_, {"gain": "1"}, TypeError, "gain is of type str"),
        (init.kaiming_normal_, {"mode": "fan"}, ValueError, "mode is 'fan'"),
        (init.kaiming_normal_, {"a": None}, TypeError, "a is None"),
        (init.kaiming_uniform_, {"nonlinearity": "r"}, ValueError, "nonlinearity is 'r'"),
        (init.recurrent_, {"layer": 3, "fill": init.eye_}, TypeError, "layer is of type int"),
        (init.recurrent_, {"layer": LAYERS["gru"], "fill": 3}, TypeError, "fill is of type int"),
        (init.forget_gate_bias_, {"lstm": LAYERS["gru"]}, TypeError, "lstm is of type GRU"),
        (init.forget_gate_bias_, {"lstm": LAYERS["lstm"], "value": "1"}, TypeError, "value is "),
        (
            init.forget_gate_bias_,
            {"lstm": bptt.LSTM(1, 1, bias=False)},
            ValueError,
            "lstm has bias",
        ),
        (init.chrono_, {"layer": LAYERS["rnn"], "T_max": 9}, TypeError, "layer is of type RNN"),
        (init.chrono_, {"layer": LAYERS["gru"], "T_max": 1}, ValueError, "T_max is 1"),
        (init.chrono_, {"layer": LAYERS["gru"], "T_max": 2.5}, TypeError, "T_max is of type float"),
    ],
)
def test_errors_name_the_argument(function, arguments, error, message):
    if not {"array", "layer", "lstm"} & arguments.keys():
        arguments = {"array": np.ones((2, 2)), **arguments}
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        function(**arguments)
