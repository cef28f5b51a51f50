"""Saving: what is loaded is what was saved, and whatever else a file is, it is a clear error."""

import io
import json
import os
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from parity import assert_same, normal, random_call, results, torch_twin

import bptt
from bptt.files import archive, models
from bptt.layers.module import LayerGradients, Module

# At least one of each class, and each argument away from its default somewhere.
LAYERS = [
    bptt.LSTM(3, 5, 2, False, True, 0.25, True, dtype=np.float64, rng=0, backend="reference"),
    bptt.GRU(3, 5, rng=0, checkpoint_every=10**9),
    bptt.RNN(3, 5, nonlinearity="leaky_relu", slope=0.2, rng=0),
    bptt.Linear(3, 2, bias=False, dtype=np.float64, rng=0),
    bptt.Activation("leaky_relu", slope=0.3),
    bptt.Dropout(0.1),
    bptt.LastStep(batch_first=True),
    bptt.MaxOverTime(),
    bptt.MeanOverTime(),
    bptt.Embedding(7, 4, padding_idx=-2, rng=0),
    bptt.LayerNorm((3, 4), 1e-3, bias=False),
    bptt.BahdanauAttention(2, 3, 4, rng=0),
    bptt.LuongAttention(2, 3, "concat", dtype=np.float64, rng=0),
    bptt.MultiHeadSelfAttention(6, 2, causal=True, rng=0),
    bptt.SinusoidalPositions(batch_first=True),
    bptt.Residual(bptt.Linear(3, 3, rng=0)),
    bptt.Sequential(bptt.LSTM(3, 2, rng=0), bptt.Sequential(bptt.LastStep()), bptt.Linear(2, 2)),
]


@pytest.fixture(params=[".npz", ".safetensors"])
def path(request, tmp_path):
    """A path of each format."""
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="writes .safetensors, which needs safetensors")
    return tmp_path / f"model{request.param}"


class Scale(Module):
    """A layer of one's own: y = factor x, with an argument of each kind that can be saved."""

    def __init__(self, dtype, *inner, words=("a", None), negative=False, rng=None):
        super().__init__()
        self.dtype = np.dtype(dtype)
        self.inner, self.words, self.negative = inner, words, negative
        self._params = {"factor": np.ones((), self.dtype)}

    def __call__(self, x):
        return x * self._params["factor"]

    def vjp(self, x):
        return self(x), lambda dy=None, wrt=None: LayerGradients(dy * self._params["factor"], {})


def peak_of(function):
    """Return what a function returns, and the most bytes that it held at a time."""
    tracemalloc.start()
    try:
        result = function()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- round trips


def test_each_class_of_layer_is_tried_here():
    tried = {type(layer).__name__ for layer in LAYERS}
    assert tried == models._own_classes().keys(), "add the layer to LAYERS"


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_what_is_loaded_is_what_was_saved(path, layer):
    bptt.save(layer, path)
    loaded = bptt.load(path)
    assert type(loaded) is type(layer)
    assert repr(loaded) == repr(layer)
    assert_same(dict(loaded.params), dict(layer.params))
    for ours, theirs in zip(loaded.modules(), layer.modules(), strict=True):
        for name, value in theirs.config().items():
            if not isinstance(value, Module) and name != "layers":
                assert getattr(ours, name) == value
    for name, array in loaded.params.items():
        assert array.flags.writeable
        assert not np.shares_memory(array, layer.params[name])


def test_results_and_gradients_are_the_same_bits(path):
    layer = bptt.GRU(4, 6, num_layers=2, bidirectional=True, rng=0)
    bptt.save(layer, path)
    call = random_call(layer)
    assert_same(results(bptt.load(path), call), results(layer, call))


def test_modes_are_kept_and_dropout_draws_anew(path):
    model = bptt.Sequential(bptt.Dropout(0.5, rng=0), bptt.Dropout(0.5, rng=0)).train()
    model[1].eval()
    bptt.save(model, path)
    first, second = bptt.load(path), bptt.load(path)
    assert [layer.training for layer in first.modules()] == [True, True, False]
    x = np.ones(64, np.float32)
    masks = first(x), second(x)
    assert set(masks[0]) == {0, 2}
    assert not np.array_equal(*masks)


def test_a_loaded_lstm_with_dropout_draws_masks(path):
    """The generator that makes the layer without drawing is not the one that it keeps."""
    bptt.save(bptt.LSTM(2, 64, num_layers=2, dropout=0.5, rng=0), path)
    x = normal((3, 2, 2), np.float32)
    layer = bptt.load(path)
    assert not np.array_equal(layer(x)[0], layer(x)[0])


def test_same_models_are_same_bytes(path):
    bytes_of = set()
    for _ in range(8):
        bptt.save(bptt.LSTM(3, 4, rng=0), os.fspath(path))
        bytes_of.add(path.read_bytes())
    assert len(bytes_of) == 1


def test_numpy_reads_the_arrays(tmp_path):
    model = bptt.Sequential(bptt.LSTM(3, 4, rng=0), bptt.Linear(4, 2, rng=0))
    bptt.save(model, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert {*archive.files} == {*model.params, "bptt.json"}
        assert_same({name: archive[name] for name in model.params}, dict(model.params))
        assert json.loads(archive["bptt.json"])["model"]["class"] == "Sequential"


def test_torch_reads_the_arrays(torch, tmp_path):
    files = pytest.importorskip("safetensors.torch", reason="reads with safetensors")
    layer = bptt.LSTM(3, 4, num_layers=2, bidirectional=True, rng=0)
    bptt.save(layer, tmp_path / "m.safetensors")
    twin = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    twin.load_state_dict(files.load_file(tmp_path / "m.safetensors"))
    assert_same(
        {name: p.detach().numpy() for name, p in twin.named_parameters()}, dict(layer.params)
    )
    assert_same(twin.state_dict(), torch_twin(layer).state_dict())


def test_layers_of_ones_own_are_made_where_they_are_given(path):
    model = bptt.Sequential(Scale("float64", bptt.Dropout(0.25), bptt.LastStep()), LAYERS[4])
    model[0].params["factor"][...] = 3
    bptt.save(model, path)
    with pytest.raises(ValueError, match=r"layers\[0\] is of class 'Scale', which is not among"):
        bptt.load(path)
    loaded = bptt.load(path, classes=[Scale])
    assert loaded[0].params["factor"] == 3
    assert loaded[0].inner[0].p == 0.25
    assert (loaded[0].words, loaded[0].negative) == (("a", None), False)


def test_what_cannot_be_made_again_is_not_saved(path):
    class Forgetful(Module):
        def __init__(self, size):
            super().__init__()

    class LSTM(bptt.LSTM):
        pass

    for model, error, message in [
        (Forgetful(3), TypeError, "Forgetful has no attribute 'size'"),
        (LSTM(1, 1, rng=0), ValueError, "has the name of a layer of bptt"),
        (Scale("f4", {}), TypeError, r"model.inner\[0\] is of type dict, must be a number, word"),
        (bptt.Sequential(Scale("f4", 1j)), TypeError, r"model.layers\[0\].inner\[0\] is of type"),
        (np.tanh, TypeError, "model is of type ufunc"),
    ]:
        with pytest.raises(error, match=message):
            bptt.save(model, path)
    with pytest.raises(ValueError, match="has the name of a layer of bptt"):
        bptt.load(path, classes=[LSTM])
    with pytest.raises(TypeError, match=r"^classes has "):
        bptt.load(path, classes=[dict])
    assert not any(path.parent.iterdir())


# ---- how files are written


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
def test_a_failed_save_leaves_all_as_it_was(path, monkeypatch, error, place):
    bptt.save(bptt.Linear(2, 3, rng=0), path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise error

    if place == "write":
        monkeypatch.setitem(
            archive._WRITERS, path.suffix, lambda file, *_: (file.write(b"half"), fail())
        )
    else:
        monkeypatch.setattr(os, place, fail)
    with pytest.raises(type(error)):
        bptt.save(bptt.Linear(4, 5, rng=0), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_link_stays_a_link(path, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path.symlink_to(folder / path.name)
    bptt.save(bptt.Linear(2, 3, rng=0), path)
    assert path.is_symlink()
    assert bptt.load(folder / path.name).out_features == 3
    assert [*folder.iterdir()] == [folder / path.name]


def test_without_safetensors(tmp_path, monkeypatch):
    (tmp_path / "m.safetensors").write_bytes(b"any")
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    for call in (lambda p: bptt.save(bptt.Linear(1, 1), p), bptt.load):
        with pytest.raises(ImportError, match=r"need the package safetensors: pip install"):
            call(tmp_path / "m.safetensors")
    assert os.listdir(tmp_path) == ["m.safetensors"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, "path is of type int"),
        ("model.pt", ValueError, "path is '.*model.pt', must end in .npz or .safetensors"),
        ("model", ValueError, "path is '.*model', must end in .npz or .safetensors"),
    ],
)
def test_errors_name_the_path(given, error, message):
    for call in (lambda path: bptt.save(bptt.Linear(1, 1), path), bptt.load):
        with pytest.raises(error, match=f"^{message}"):
            call(given)


def test_no_file_and_no_folder(path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        bptt.load(path)
    with pytest.raises(FileNotFoundError, match="none"):
        bptt.save(bptt.Linear(1, 1), path.parent / "none" / path.name)
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        bptt.load(path)
    with pytest.raises(OSError, match=re.escape(str(path))):
        bptt.save(bptt.Linear(1, 1), path)
    assert os.listdir(path.parent) == [path.name]


# ---- what else a file may be


def mutants(data, count):
    """Copies of a file with a byte or bit changed, cut short, or with bytes put in or left out."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = int(rng.integers(len(data)))
        # half of the faults where the structure is: at the ends
        if i % 2:
            place = place % 600 if i % 4 == 1 else len(data) - 1 - place % 1200
        length = int(rng.integers(1, 40))
        some = rng.bytes(length)
        flipped = bytes([data[place] ^ (1 << rng.integers(8))])
        digit = bytes([48 + rng.integers(10)])
        yield (
            data[:place] + flipped + data[place + 1 :],
            data[:place] + digit + data[place + 1 :],
            data[:place],
            data[:place] + some + data[place:],
            data[:place] + digit * length + data[place:],
            data[:place] + data[place + length :],
            data[:place] + some[: len(data) - place] + data[place + length :],
        )[int(rng.integers(7))]


def test_a_thousand_damaged_files(path):
    """500 of each format: an error that names the file, or all that was saved, nothing between."""
    model = bptt.Sequential(bptt.GRU(3, 8, rng=0), bptt.LastStep(), bptt.Linear(8, 2, rng=0))
    bptt.save(model, path)
    errors = []

    def load_all():
        for data in mutants(original, 500):
            path.write_bytes(data)
            try:
                loaded = bptt.load(path)
            except (OSError, ValueError) as error:
                errors.append(str(error))
            else:
                assert repr(loaded) == repr(model)
                assert_same(dict(loaded.params), dict(model.params))

    original = path.read_bytes()
    _, peak = peak_of(load_all)
    assert len(errors) > 400
    assert all(str(path) in error for error in errors)
    assert peak < 5e6


def npz(header, arrays=(), **options):
    """A file in .npz, of any contents; arrays may be bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr("bptt.json", header if isinstance(header, str) else json.dumps(header))
        for name, array in dict(arrays).items():
            member = io.BytesIO()
            if not isinstance(array, bytes):
                np.lib.format.write_array(member, array)
            archive.writestr(f"{name}.npy", member.getvalue() or array)
    return stream.getvalue()


def model_header(**model):
    return {"bptt": "model", "format": 1, "model": {"training": True, **model}}


def linear_header(**arguments):
    return model_header(**{"class": "Linear"}, arguments=arguments)


LINEAR = {"in_features": 3, "out_features": 2, "bias": False}
WEIGHT = {"weight": np.ones((2, 3), np.float32)}
HUGE = b"\x93NUMPY\x01\x00\x76\x00" + (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 3), }".ljust(117) + b"\n"
)


class Trap:
    """Pickled, it would leave a file."""

    def __reduce__(self):
        return open, ("trapped", "w")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a zip file"),
        (b"\x89PNG\r\n", "not a zip file"),
        (npz({}), "not a file of bptt"),
        (npz([]), "not a file of bptt"),
        (npz("[" * 100_000), "damaged"),
        (npz("no JSON"), "damaged"),
        (npz({"bptt": "model", "format": 2}), "has format 2, this version of bptt reads 1"),
        (npz({"bptt": "checkpoint", "format": 1}), "holds a checkpoint, must hold a model"),
        (npz({"bptt": "model", "format": 1}), "model is not a layer"),
        (npz({"bptt": "model", "format": 1, "model": {}}), "model has no class with arguments"),
        (npz(linear_header(**LINEAR), WEIGHT, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (npz(linear_header(**LINEAR), {"b": np.ones(6)}), "missing ['weight'], unknown ['b']"),
        (npz(linear_header(**LINEAR)), "more parameters than it has numbers"),
        (npz(linear_header(**LINEAR), {"weight": np.ones((3, 2))}), "has shape (3, 2), must be"),
        (npz(linear_header(**LINEAR), {"weight": np.ones((2, 3), "c8")}), "complex64"),
        (npz(linear_header(**LINEAR), {"weight": np.full((2, 3), Trap())}), "damaged"),
        (npz(linear_header(**LINEAR), {"weight": HUGE}), "has 0 bytes"),
        (npz(linear_header(**LINEAR), {"weight": b"else"}), "damaged"),
        (npz(linear_header(in_features=3), WEIGHT), "out_features"),
        (npz(linear_header(**LINEAR, rng=0), WEIGHT), "arguments that Linear has not: ['rng']"),
        (npz(linear_header(**LINEAR, other=0), WEIGHT), "arguments that Linear has not: ['other']"),
        (npz(linear_header(**LINEAR | {"bias": "yes"}), WEIGHT), "bias is of type str"),
        (npz(linear_header(**LINEAR | {"in_features": 10**9}), WEIGHT), "must be at most 1048576"),
        (npz(linear_header(**LINEAR | {"in_features": 10**6}), WEIGHT), "more parameters than"),
        (npz(linear_header(**LINEAR | {"in_features": [3]}), WEIGHT), "in_features is of type"),
        (npz(model_header(**{"class": "Module"}, arguments={}), {}), "class 'Module'"),
        (npz(model_header(**{"class": "os.system"}, arguments={}), {}), "class 'os.system'"),
        (
            npz(
                model_header(
                    **{"class": "LSTM"},
                    arguments={"input_size": 1, "hidden_size": 1, "num_layers": 10**9},
                )
            ),
            "num_layers is 1000000000, must be at most",
        ),
    ],
)
def test_foreign_files_are_clear_errors(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.npz"
    path.write_bytes(data)

    def load():
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            bptt.load(path)
        assert message in str(caught.value)

    _, peak = peak_of(load)
    assert peak < 5e6
    assert os.listdir(tmp_path) == ["m.npz"]


def test_safetensors_of_others_are_clear_errors(tmp_path):
    files = pytest.importorskip("safetensors.numpy", reason="writes with safetensors")
    path = tmp_path / "m.safetensors"
    header = json.dumps(linear_header(**LINEAR))
    for metadata in (None, {"bptt": header}, {"bptt": f"00000000 {header}"}):
        files.save_file(WEIGHT, path, metadata)
        with pytest.raises(
            ValueError, match=re.escape(f"{path} is damaged, or not a file of bptt")
        ):
            bptt.load(path)
