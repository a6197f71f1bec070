"""The suite is tested itself: planted defects must turn it red, and a copy without one must not."""

from pathlib import Path

import pytest
from defects import read_defects
from ladder import CASES, Case, failures

DEFECTS = read_defects(Path(__file__).parent)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(plant, name):
    defect = DEFECTS[name]
    assert any(failures(plant(defect), Case(CASES / defect.case), defect.dtype, defect.attn_implementation))


@pytest.mark.parametrize("case", sorted({defect.case for defect in DEFECTS.values()}))
def test_a_faithful_copy_passes(plant, case):
    assert list(failures(plant(), Case(CASES / case))) == []
