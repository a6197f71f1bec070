"""Files of any format with random damage."""

import os

import pytest
from checkpoint_data import DTYPES, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.errors import GPTError
from gptcore.spec.parameters import Head

DAMAGED = [form for form in FORMATS if form not in ("safetensors", "orbax", "openai")]


@pytest.mark.parametrize("form", DAMAGED)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(tmp_path_factory, form, data):
    """Flip bytes or cut the file anywhere: a ``GPTError``, or tensors that can be read."""
    folder = tmp_path_factory.getbasetemp() / f"damaged-{form}-{os.getpid()}"
    if not folder.exists():
        save(folder, Head.LM, form=form)
    whole = bytearray((folder / FORMATS[form].file_name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "damaged"
    path.write_bytes(whole[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))])
    try:
        for tensor in read_tensors(path, allow_pickle=True):
            if tensor.dtype in DTYPES:
                assert tensor.read().shape == tensor.shape
    except GPTError:
        pass
