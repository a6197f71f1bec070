"""HDF5 files of Keras and of transformers: no link is followed, and no size is believed."""

import io
import re
import struct
import subprocess
import sys
import textwrap

import h5py
import pytest
from checkpoint_data import save
from refusals import refused

from gptcore.checkpoint.containers.reading import occurrences
from gptcore.checkpoint.folder import read_tensors
from gptcore.spec.parameters import Head


def test_names_without_the_scope_of_the_model_are_recognised(tmp_path):
    """transformers' TensorFlow classes then leave the name of the model out."""
    save(tmp_path / "a", Head.LM, form="tf")
    wanted = [tensor.parameter for tensor in read_tensors(tmp_path / "a")]
    with h5py.File(tmp_path / "a" / "tf_model.h5", "r+") as file:
        file.move("transformer/tf_open_aigptlm_head_model/transformer", "transformer/transformer")
    assert [tensor.parameter for tensor in read_tensors(tmp_path / "a")] == wanted
    assert "tokens_embed.weight" in wanted


def hostile_hdf5(path, kind):
    outside = path.with_name("outside.bin")
    outside.write_bytes(bytes(4096))
    with h5py.File(path, "w") as file:
        if kind == "external link":
            file["w"] = h5py.ExternalLink("outside.h5", "/w")
        elif kind == "soft link":
            file["w"] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            file.create_dataset("w", (4,), "f4", external=[(str(outside), 0, 16)])
        elif kind == "virtual dataset":
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource("outside.h5", "w", (4,))
            file.create_virtual_dataset("w", layout)
        elif kind == "bomb":
            file.create_dataset("w", (1 << 34,), "f4", chunks=(1 << 20,), compression="gzip")
        elif kind == "never written":
            file.create_dataset("w", (1 << 34,), "f4")
        elif kind == "loop":
            file.create_group("a")["b"] = file["/"]
        else:
            file.create_dataset("w", data=[object])


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("external link", "ExternalLink; only hard links are supported"),
        ("soft link", "SoftLink; only hard links are supported"),
        ("external storage", "is stored in another file"),
        ("virtual dataset", "is stored in another file"),
        ("bomb", "stored in chunks"),
        ("never written", "must have 68719476736 bytes"),
        ("loop", "more than 16 deep"),
    ],
)
def test_hostile_hdf5_files_are_one_error(tmp_path, kind, match):
    path = tmp_path / "tf_model.h5"
    hostile_hdf5(path, kind)
    opened = []
    code = textwrap.dedent(f"""
        import sys, pathlib
        import h5py
        from gptcore.checkpoint.folder import read_tensors
        sys.addaudithook(lambda event, args: print(args[0]) if event == "open" else None)
        try:
            read_tensors(pathlib.Path({str(path)!r}))
        except ValueError:
            print("refused")
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    opened = done.stdout.split("\n")
    assert "refused" in opened
    assert not any("outside" in name for name in opened)
    refused(path, match)


def test_an_endless_hdf5_heap_is_refused(tmp_path):
    """A free block that is its own next one, which the HDF5 library follows until the memory is full."""
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    data = bytearray(path.read_bytes())
    heap = data.index(b"HEAP") + 8
    _, block, begin = struct.unpack_from("<QQQ", data, heap)
    assert struct.unpack_from("<Q", data, begin + block) == (1,)  # the last
    struct.pack_into("<Q", data, begin + block, block)
    path.write_bytes(data)
    refused(path, "the heaps of the file have more than 100000 free blocks")


def test_a_file_full_of_heap_signatures_is_refused(tmp_path):
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    path.write_bytes(path.read_bytes() + b"HEAP\0" * 100_000)
    refused(path, r"the bytes b'HEAP.* occur more than 100,000 times")


@pytest.mark.parametrize("edge", [0, 1 << 20, (2 << 20) - 4])  # a file is read a MiB at a time, with an overlap
def test_a_signature_across_two_chunks_is_found(edge):
    places = sorted({max(edge + offset, 0) for offset in (-13, -8, -3, 2)} | {3 << 20})
    data = bytearray((3 << 20) + 5)
    for place in places:
        data[place : place + 5] = b"HEAP\0"
    assert list(occurrences(io.BytesIO(data), re.compile(rb"HEAP\0"), 5)) == [
        place for place in places if data[place : place + 5] == b"HEAP\0"
    ]


def test_hdf5_addresses_of_another_kind_are_refused(tmp_path):
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    data = bytearray(path.read_bytes())
    for place, value in ((13, 4), (24, 1), (8, 2)):  # bytes of an address; where they count from; another version
        changed = data.copy()
        changed[place] = value
        path.write_bytes(changed)
        refused(path, "unsupported HDF5 superblock")
