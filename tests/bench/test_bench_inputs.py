"""bench/inputs.py: the same numbers for everybody."""

from __future__ import annotations

from importlib import import_module

import numpy as np


def test_inputs_are_the_same_numbers_in_both_dtypes(cases):
    make = import_module("inputs").make
    case = cases.Case((3, 2, 4, 5), num_layers=2, bidirectional=True)
    single, double = make(case, "lstm"), make(case, "lstm", "float64")
    assert list(single.params)[:4] == [
        f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert single.params["weight_ih_l1_reverse"].shape == (20, 10)
    for name, array in single.params.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, double.params[name])
    np.testing.assert_array_equal(single.dc_n, double.dc_n)
    assert make(case, "gru").c_0 is None


def test_inputs_of_a_seed_and_of_a_decaying_state(cases):
    make = import_module("inputs").make
    case = cases.Case((30, 2, 4, 5))
    assert (make(case, "gru").x == make(case, "gru", seed=0).x).all()
    assert (make(case, "gru").x != make(case, "gru", seed=1).x).any()
    decaying = make(cases.Case((30, 2, 4, 5), decaying=True), "gru")
    np.testing.assert_array_equal(decaying.x[:10], make(case, "gru").x[:10])
    assert not decaying.x[10:].any()
    assert not decaying.params["bias_hh_l0"].any()
    assert decaying.params["weight_hh_l0"].all()


def test_batches_of_a_task_differ_and_are_the_same_numbers_in_both_dtypes(cases):
    inputs = import_module("inputs")
    case = cases.Case((3, 2, 4, 5))
    single, double = inputs.task(case, "gru"), inputs.task(case, "gru", "float64")
    assert len(single.batches) == inputs.BATCHES
    assert len({x.tobytes() for x, _ in single.batches}) == inputs.BATCHES
    assert single.params["weight"].shape == (1, 5)
    assert single.params["weight"].dtype == np.float32
    for (x, target), (x64, target64) in zip(single.batches, double.batches, strict=True):
        assert target.shape == (2, 1)
        np.testing.assert_array_equal(x, x64)
        np.testing.assert_array_equal(target, target64)
