"""Hostile and damaged Orbax items: one error, at once, and nothing outside the item is read."""

import json
import os

import pytest
from checkpoint_data import CONFIG, DTYPES, items, pack, save, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from gptcore import CheckpointError
from gptcore.checkpoint.containers.ocdbt import MAGIC
from gptcore.checkpoint.folder import read_tensors
from gptcore.errors import GPTError
from gptcore.spec.parameters import Head

ZARRAY = {
    "zarr_format": 2, "shape": [10], "chunks": [10], "dtype": "<f4", "compressor": None, "fill_value": None,
    "filters": None, "order": "C", "dimension_separator": ".",
}  # fmt: skip


HOSTILE_ARRAYS = {
    "empty": ("", r"\.zarray: damaged JSON"),
    "a list": ("[]", "must be an object; got list"),
    "deep": ("[" * 60_000, r"\.zarray: damaged JSON"),
    "large": (" " * 70_000 + "{}", "more than 65536 bytes"),
    "no shape": ({"shape": None}, "must have at most 8 sizes; got None"),
    "many axes": ({"shape": [1] * 9, "chunks": [1] * 9}, "at most 8 sizes"),
    "fraction": ({"shape": [10.0]}, "has invalid sizes"),
    "boolean": ({"shape": [True], "chunks": [1]}, "has invalid sizes"),
    "negative": ({"shape": [-10]}, "has invalid sizes"),
    "huge": ({"shape": [1 << 64], "chunks": [1 << 64]}, "has invalid sizes"),
    "chunks of nothing": ({"chunks": [0]}, "has invalid sizes"),
    "other axes": ({"chunks": [10, 1]}, r"inconsistent shape \(10,\), chunks \(10, 1\)"),
    "structure": ({"dtype": [["a", "<f4"]]}, "has inconsistent shape"),
    "shape bomb": ({"shape": [1 << 39], "chunks": [1 << 39]}, "claim 2,199,023.* bytes, but the files hold"),
    "chunk bomb": ({"chunks": [1 << 39]}, "claim 2,199,023.* bytes, but the files hold"),
    "bomb of chunks": ({"shape": [1 << 39], "chunks": [1]}, "lacks values"),
    "missing chunk": ({"shape": [11]}, "lacks values"),
    "other size": ({"shape": [9], "chunks": [9]}, "cannot have 40 bytes"),
    "another compressor": ({"compressor": {"id": "blosc"}}, "must be compressed with zstd"),
    "filters": ({"filters": [{"id": "delta"}]}, "has the filters .*, which Orbax never writes"),
    "by columns": ({"order": "F"}, "has the order 'F'"),
    "another version": ({"zarr_format": 3}, "has the zarr_format 3"),
    "folders of chunks": ({"dimension_separator": "/"}, "has the dimension_separator '/'"),
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_hostile_orbax_arrays_are_one_error(tmp_path, name):
    claim, match = HOSTILE_ARRAYS[name]
    item = items(tmp_path)[0]
    text = claim if isinstance(claim, str) else json.dumps({**ZARRAY, **claim})
    (item / "h.0.ln_1.bias" / ".zarray").write_text(text)
    refused(item, match)


@pytest.mark.parametrize(
    "change", [{"shape": [9], "chunks": [9]}, {"shape": [1 << 12], "chunks": [1 << 12]}, {"dtype": "<f8"}]
)
@pytest.mark.parametrize("ocdbt", [True, False])
def test_packed_values_of_another_shape_are_refused(tmp_path, change, ocdbt):
    import tensorstore

    item = items(tmp_path)[1 if ocdbt else 2]
    base = {"driver": "file", "path": f"{item}/"}
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base} if ocdbt else base).result()
    store.write("h.0.ln_1.bias/.zarray", json.dumps({**ZARRAY, "compressor": {"id": "zstd"}, **change})).result()
    (tensor,) = [tensor for tensor in read_tensors(item) if tensor.parameter == "h.0.ln_1.bias"]
    with pytest.raises(CheckpointError, match=r"h\.0\.ln_1\.bias: damaged Orbax"):
        tensor.read()


def link(path, target):
    path.rename(target)
    path.symlink_to(target)


HOSTILE_ITEMS = {
    "a link to a file": (lambda item, out: link(item / "h.0.ln_1.bias" / "0", out), r"h\.0\.ln_1\.bias/0 is a link"),
    "a link to a directory": (lambda item, out: link(item / "h.0.ln_1.bias", out), r"h\.0\.ln_1\.bias is a link"),
    "a pipe": (lambda item, out: os.mkfifo(item / "pipe"), "is a link or not a regular file"),
    "a directory": (
        lambda item, out: (item / "h.0.ln_1.bias" / "0").rename(out) and (item / "h.0.ln_1.bias" / "0").mkdir(),
        "lacks values",
    ),
    "deep": (lambda item, out: (item / "/".join("abcdefghi")).mkdir(parents=True), "more than 8 directories deep"),
    "no arrays": (lambda item, out: [path.unlink() for path in item.glob("*/.zarray")], "no zarr 2 array"),
    "a manifest": (lambda item, out: (item / "manifest.ocdbt").write_bytes(b"\x0c\xdb"), "damaged Orbax"),
}


@pytest.mark.parametrize("name", HOSTILE_ITEMS)
def test_hostile_orbax_items_are_one_error(tmp_path, name):
    change, match = HOSTILE_ITEMS[name]
    item = items(tmp_path)[0]
    change(item, tmp_path / "outside")
    refused(item, match)


def test_a_store_cannot_lead_outside(tmp_path):
    """A tree whose nodes and values lie in files with ``..`` in their names; there, they would be read."""
    ours = save(tmp_path / "ours", Head.NONE, form="orbax") / "orbax_checkpoint"
    prefixes = dict.fromkeys(("value_data_prefix", "btree_node_data_prefix"), "aa/outside/")
    item = pack(ours, tmp_path / "packed", config={"compression": None}, **prefixes)
    assert len(read_tensors(item)) == len(read_tensors(ours))
    (item / "aa" / "outside").rename(tmp_path / "outside")
    for path in (item / "manifest.ocdbt", *(tmp_path / "outside").iterdir()):
        data = path.read_bytes().replace(b"aa/outside/", b"../outside/")
        path.write_bytes(sealed(data))
    refused(item, r"Invalid key: .*\.\./outside/")


def write_keys(item, count):
    """A node of a tree that zstd makes a thousandth: keys of 60,000 bytes."""
    import tensorstore

    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": {"driver": "file", "path": f"{item}/"}}).result()
    with tensorstore.Transaction() as transaction:
        for number in range(count):
            store.with_transaction(transaction)[bytes([number]) + b"a" * 60_000] = b""


def newest(item):
    return max((item / "d").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def repeat(path, times):
    path.write_bytes(path.read_bytes() * times)


def rewrite(path, offset, data):
    whole = path.read_bytes()
    begin = MAGIC.search(whole).start() + offset
    path.write_bytes(sealed(whole[:begin] + data + whole[begin + len(data) :]))


LARGE = (65 << 16).to_bytes(8, "little")


HOSTILE_STORES = {
    "a bomb": (lambda item: write_keys(item, 100), "a node must have at most 4,194,304 bytes; .* packed bytes"),
    "many bombs": (lambda item: (write_keys(item, 50), repeat(newest(item), 50)), "at most 67,108,864 bytes in all"),
    "a large node": (lambda item: (repeat(newest(item), 4000), rewrite(newest(item), 4, LARGE)), "at most 4,194,304"),
    "another version": (lambda item: rewrite(newest(item), 12, b"\1"), "unsupported node: version 01"),
    "another compression": (lambda item: rewrite(newest(item), 13, b"\2"), "compression 02"),
    "no zstd": (lambda item: rewrite(newest(item), 14, b"\0\0\0\0"), "damaged OCDBT"),
    "no tree": (lambda item: (item / "_METADATA").write_text("{}"), "_METADATA: damaged JSON"),
    "deep": (lambda item: (item / "_METADATA").write_text("[" * 100_000), "_METADATA: damaged JSON"),
    "a list": (lambda item: (item / "_METADATA").write_text('{"tree_metadata": [1]}'), "_METADATA: damaged JSON"),
    "large": (lambda item: (item / "_METADATA").write_text(" " * (1 << 24) + "{}"), "more than 16777216 bytes"),
    "no names": (lambda item: (item / "_METADATA").write_text('{"tree_metadata": {}}'), "no zarr 2 array"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_STORES)
def test_hostile_orbax_stores_are_one_error(tmp_path, name):
    """What the library that opens them does not measure is measured before."""
    change, match = HOSTILE_STORES[name]
    item = items(tmp_path)[1]
    change(item)
    refused(item, match)


def test_values_that_an_old_orbax_left_out_are_missing(tmp_path):
    import tensorstore

    item = items(tmp_path)[1]
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": {"driver": "file", "path": f"{item}/"}}).result()
    store.delete_range(tensorstore.KvStore.KeyRange("h.0.ln_1.bias/0", "h.0.ln_1.bias/1")).result()
    (tensor,) = [tensor for tensor in read_tensors(item) if tensor.parameter == "h.0.ln_1.bias"]
    with pytest.raises(CheckpointError, match=r"'h\.0\.ln_1\.bias' of shape \(10,\) lacks values"):
        tensor.read()


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["ours", "packed", "loose"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_an_item_is_an_error_or_harmless(tmp_path_factory, kind, data):
    """Flip bytes of any of its files, or cut it: a ``GPTError``, or tensors that can be read."""
    folder = tmp_path_factory.getbasetemp() / f"damaged-items-{os.getpid()}"
    item = folder / ("ours/orbax_checkpoint", "packed", "loose")[kind]
    if not folder.exists():
        items(folder, config=CONFIG.replace(n_layer=1))
    path = data.draw(st.sampled_from(sorted(path for path in item.rglob("*") if path.is_file())))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(sealed(damaged[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))]))
    try:
        for tensor in read_tensors(item):
            if tensor.dtype in DTYPES:
                assert tensor.read().shape == tensor.shape
    except GPTError:
        pass
    finally:
        path.write_bytes(whole)
