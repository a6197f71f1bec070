"""Small checkpoints and hostile files for the tests of formats."""

import json
import pickle
import struct

import numpy as np
from trained_scale import trained_scale

from gptcore import OpenAIGPTConfig
from gptcore.checkpoint import save_pretrained
from gptcore.checkpoint.containers.ocdbt import MAGIC
from gptcore.checkpoint.dtypes import convert
from gptcore.spec.parameters import Head

DTYPES = ("float32", "float16", "bfloat16")
CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=10, n_head=5, n_layer=2, num_labels=3)


def values(head, dtype, config=CONFIG, seed=0):
    """Canonical name and array of every parameter, at trained scale."""
    for name, array in trained_scale(config, head, seed):
        yield name, convert(array, "float32", dtype)


def save(folder, head, dtype="float32", form="safetensors", config=CONFIG, **options):
    """A checkpoint in any format."""
    save_pretrained(folder, config, head, dtype, values(head, dtype, config), form=form, **options)
    return folder


def content(folder):
    """Path inside -> bytes of each file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Payload:
    """What a hostile pickle does: makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def legacy_file(state, storages):
    """A file of torch.save from before PyTorch 1.6, around any pickled ``state``."""
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts += [state, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(data) // 4) + data for data in storages.values()]
    return b"".join(parts)


def pack(item, packed, *, ocdbt=True, halves=False, **options):
    """What Orbax itself would have written instead of an item of ours; with ``halves``, from a mesh of devices."""
    import tensorstore  # not in every environment that has the rest of this file

    packed.mkdir()
    for path in sorted(item.glob("*/.zarray")):
        metadata = json.loads(path.read_text())
        shape, name = metadata["shape"], path.parent.name
        metadata["compressor"] = {"id": "zstd", "level": 1}
        if halves:
            metadata["chunks"] = [-(-size // 2) for size in shape]
        base = {"driver": "file", "path": f"{packed}/"}
        store = {"driver": "ocdbt", "base": base, "path": f"{name}/", **options}
        spec = {
            "driver": "zarr",
            "kvstore": store if ocdbt else {**base, "path": f"{packed / name}/"},
            "metadata": metadata,
            "store_data_equal_to_fill_value": True,
        }
        array = tensorstore.open(spec, create=True).result()
        bits = np.frombuffer((path.parent / ".".join("0" * len(shape))).read_bytes(), array.dtype.numpy_dtype)
        array.write(bits.reshape(shape)).result()
    tree = json.loads((item / "_METADATA").read_text())
    (packed / "_METADATA").write_text(json.dumps({**tree, "use_ocdbt": ocdbt}))
    return packed


def items(folder, head=Head.NONE, **options):
    """An item of ours, and the two kinds that Orbax writes."""
    ours = save(folder / "ours", head, form="orbax", **options) / "orbax_checkpoint"
    return ours, pack(ours, folder / "packed"), pack(ours, folder / "loose", ocdbt=False)


def sealed(data):
    """The bytes of a file of OCDBT with checksums that fit, so that what was changed in it is believed."""
    data = bytearray(data)
    for begin in [found.start() for found in MAGIC.finditer(data)]:
        end = begin + int.from_bytes(data[begin + 4 : begin + 12], "little")
        if begin + 16 <= end <= len(data):
            data[end - 4 : end] = crc32c(data[begin : end - 4]).to_bytes(4, "little")
    return bytes(data)


def crc32c(data):
    """Castagnoli's checksum."""
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC32C[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _crc32c_entry(value):
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC32C = [_crc32c_entry(byte) for byte in range(256)]
