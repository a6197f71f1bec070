"""Every case in every backend: outputs, losses and gradients against the float64 reference."""

import numpy as np
import pytest
import reference_backend
from kinks import smallest_relu_input
from ladder import all_cases, expectation, failures, flatten, quantities

from gptcore.spec.parameters import Head
from gptcore.spec.tolerances import EPSILON, TOLERANCES, output_error

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_outputs_and_gradients(backend, case, dtype):
    assert list(failures(backend, case, dtype)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pairwise(backends, case):
    """All backends are as near to each other as to the reference."""
    outputs = [flatten(b.load(case.folder, case.head).forward(case.inputs)) for b in backends]
    assert len(outputs) == len(backends)
    for other in outputs[1:]:
        for name, array in outputs[0].items():
            assert output_error(other[name], np.asarray(array, np.float64)) <= TOLERANCES["float32", "outputs"], name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_backend_that_claims_no_gradients(case):
    """Its outputs are graded, and nothing else is asked of it."""
    graded = list(quantities(reference_backend.BACKEND, case))
    assert all(quantity.passed for quantity in graded)
    assert {quantity.kind for quantity in graded} == {"outputs"}
    assert not any("loss" in quantity.name for quantity in graded)


def test_scores_behind_a_tanh_are_not_saturated():
    """Where the derivative of tanh loses digits, the tolerance of gradients does not hold: see its derivation."""
    behind_tanh = [
        case for case in CASES if case.head is Head.DOUBLE_HEADS and case.config.summary_activation == "tanh"
    ]
    assert behind_tanh
    for case in behind_tanh:
        scores = case.expected("float64")["output/mc_logits"]
        assert (1 - scores**2 > 0.5).all()
        assert np.abs(scores).max() > 0.2  # on the curve, where tanh is not the identity


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_inputs_of_relu_are_off_the_kink(dtype):
    """Where the derivative of ReLU jumps, the tolerance of gradients does not hold: see its derivation."""
    smallest = {case.name: smallest_relu_input(case.reference(dtype), case.inputs) for case in CASES}
    with_relu = {name: size for name, size in smallest.items() if np.isfinite(size)}
    assert with_relu.keys() == {"lm_relu_ragged", "double_heads_default_no_projection"}
    assert min(with_relu.values()) > 3 * EPSILON["bfloat16"], with_relu


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_expectations_are_the_reference(case):
    """The stored arrays are what the reference gives today, with attentions that sum to one."""
    stored = case.expected("float64")
    fresh = expectation(case.reference("float32"), case.head, case.inputs)
    assert stored.keys() == fresh.keys()
    for name, array in fresh.items():
        assert output_error(array, stored[name]) <= 1e-13, name
    if "head_mask" not in case.inputs:
        np.testing.assert_allclose(stored["output/attentions.0"].sum(-1), 1, rtol=1e-12)
