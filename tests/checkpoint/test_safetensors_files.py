"""Safetensors files: as the library reads and writes them, and no file does harm."""

import json
import struct
import time

import numpy as np
import pytest
import safetensors.numpy
from fresh_checkpoint import CONFIG, WEIGHTS_NAME
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcore import CheckpointError
from gptcore.checkpoint import fresh_values
from gptcore.checkpoint.containers import safetensors as safetensors_format
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.errors import GPTError
from gptcore.spec.parameters import Head


def test_the_safetensors_library_reads_what_we_write(folder):
    tensors = safetensors.numpy.load_file(folder / WEIGHTS_NAME)
    expected = dict(fresh_values(CONFIG, Head.LM, "float32", 0))
    assert {name.removeprefix("transformer.") for name in tensors} == set(expected)
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, expected[name.removeprefix("transformer.")])


def raw(header, data=b"", size=None):
    """Bytes of a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


HOSTILE = {
    "empty": b"",
    "short": b"\x08\0\0",
    "no header": raw(b"", size=0),
    "header past the end": raw({}, size=1 << 20),
    "header of 2**63 bytes": raw({}, size=1 << 63),
    "not JSON": raw(b"{]"),
    "a list": raw([1]),
    "deep": raw(b"[" * 100_000),
    "not UTF-8": raw(b'{"\xff":1}'),
    "duplicate keys": raw(b'{"a":%s,"a":%s}' % ((json.dumps(ENTRY).encode(),) * 2), bytes(8)),
    "short data": raw({"a": ENTRY}, bytes(7)),
    "long data": raw({"a": ENTRY}, bytes(9)),
    "overlap": raw({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
    "hole": raw({"a": ENTRY, "b": {**ENTRY, "data_offsets": [12, 20]}}, bytes(20)),
    "backwards": raw({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
    "negative": raw({"a": {**ENTRY, "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
    "shape bomb": raw({"a": {**ENTRY, "shape": [1 << 40, 1 << 40]}}, bytes(8)),
    "wrong size": raw({"a": {**ENTRY, "shape": [3]}}, bytes(8)),
    "unknown dtype": raw({"a": {**ENTRY, "dtype": "Q7"}}, bytes(8)),
    "no dtype": raw({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "entry is a number": raw({"a": 3}),
    "offsets are text": raw({"a": {**ENTRY, "data_offsets": ["0", "8"]}}, bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_error(tmp_path, name):
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(HOSTILE[name])
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=str(path)):
        safetensors_format.read(path)
    assert time.monotonic() - start < 5


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_an_error_or_harmless(folder, data):
    """Flip bytes or cut the file anywhere: a CheckpointError, or tensors of exactly the expected shapes."""
    path = folder / "damaged.safetensors"
    whole = bytearray((folder / WEIGHTS_NAME).read_bytes())
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, header))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])
    try:
        tensors = safetensors_format.read(path)
    except GPTError:
        return
    for tensor in tensors:
        if tensor.dtype in STORAGE:
            assert tensor.read().shape == tensor.shape
