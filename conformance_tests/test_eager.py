"""Every case with the attention that is written out, an option of our own backends. ``test_cases.py`` has the rest."""

import pytest
from ladder import all_cases, failures


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_eager(backend, case):
    assert list(failures(backend, case, "float32", "eager")) == []
