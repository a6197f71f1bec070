"""Files of torch.save: read without running anything that is in them."""

import io
import pickle
import struct
import zipfile

import pytest
from checkpoint_data import CONFIG, Payload, legacy_file, save
from refusals import refused

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import read_tensors
from gptcore.spec.parameters import Head, parameters


def test_prefixes_of_wrappers_are_removed(tmp_path):
    """DataParallel and torch.compile put a prefix before every name."""
    tensors = [(parameter, None) for parameter in parameters(CONFIG).values()]
    save(tmp_path / "a", Head.LM, form="pytorch")
    file = tmp_path / "a" / "pytorch_model.bin"
    for prefix in (b"module.", b"_orig_mod."):
        rename_in_pickle(file, tmp_path / "b.bin", prefix)
        found = read_tensors(tmp_path / "b.bin", allow_pickle=True)
        assert {tensor.parameter for tensor in found} == {parameter.name for parameter, _ in tensors}


def rename_in_pickle(source, target, prefix):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                for parameter in parameters(CONFIG):
                    name = b"transformer." + parameter.encode()
                    short, long = (b"X" + struct.pack("<I", len(text)) + text for text in (name, prefix + name))
                    assert short in data
                    data = data.replace(short, long)
            new.writestr(entry.filename, data)


def test_pickles_have_to_be_allowed(tmp_path):
    save(tmp_path / "a", Head.LM, form="pytorch")
    with pytest.raises(CheckpointError, match="Pass allow_pickle=True"):
        open_pretrained(tmp_path / "a", Head.LM)
    assert open_pretrained(tmp_path / "a", Head.LM, allow_pickle=True).report()["missing_keys"] == []


@pytest.mark.parametrize("legacy", [False, True])
def test_no_payload_runs(tmp_path, legacy):
    made = tmp_path / "made"
    state = pickle.dumps({"tokens_embed.weight": Payload(made)}, 2)
    path = tmp_path / "pytorch_model.bin"
    if legacy:
        path.write_bytes(legacy_file(state, {}))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", state)
    refused(path, r"would call (io|_io)\.open, which weights do not need", allow_pickle=True)
    assert not made.exists()


def zipped(state=b"\x80\x02}.", **files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        for name, data in files.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def tensor_pickle(shape, strides, count, offset=0, kind=b"FloatStorage"):
    """A state dict with one tensor, which makes any claim."""
    text = lambda value: b"X" + struct.pack("<I", len(value)) + value  # noqa: E731
    number = lambda value: b"\x8a\x10" + value.to_bytes(16, "little", signed=True)  # noqa: E731
    numbers = lambda values: b"(" + b"".join(map(number, values)) + b"t"  # noqa: E731
    storage = b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(b"0") + text(b"cpu") + number(count) + b"tQ"
    view = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02}" + text(b"w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + view + b"tRs."


HOSTILE_PICKLES = {
    "no data.pkl": (zipped()[:0] + zipped().replace(b"data.pkl", b"date.pkl"), "has no data.pkl"),
    "no end": (zipped(b"\x80\x02}"), "damaged"),
    "unknown opcode": (zipped(b"\x80\x02\x81."), "do not need|damaged"),
    "instance": (zipped(b"(ios\nsystem\n."), "do not need"),
    "sets attributes": (zipped(b"cos\nsystem\n}b."), "would set attributes"),
    "a list": (zipped(b"]."), "got list"),
    "a number": (zipped(b"\x80\x02}X\x01\x00\x00\x00aK\x05s."), "'a' must be a tensor; got int"),
    "huge memo": (zipped(b"\x80\x02}r\xff\xff\xff\xff."), None),
    "huge string": (zipped(b"\x80\x02X\xff\xff\xff\x7fabc."), "damaged"),
    "deep": (zipped(b"(" * 100_000 + b"t" * 100_000 + b"."), "got tuple"),
    "backslash": (zipped(b"c\\ x\ny\n."), "got Global"),
    "shape bomb": (zipped(tensor_pickle((1 << 40, 1 << 40), (1 << 40, 1), 1)), "damaged|does not lie"),
    "stride 0": (zipped(tensor_pickle((1 << 40,), (0,), 1), **{"data/0": bytes(4)}), "overlapping strides"),
    "negative": (zipped(tensor_pickle((-4,), (1,), 1), **{"data/0": bytes(4)}), "wrong storage, offset"),
    "outside": (zipped(tensor_pickle((4,), (1,), 4, offset=1), **{"data/0": bytes(16)}), "exceeds its storage"),
    "short": (zipped(tensor_pickle((4,), (1,), 4), **{"data/0": bytes(15)}), "exceeds its storage"),
    "no storage": (zipped(tensor_pickle((4,), (1,), 4)), "damaged"),
    "unknown kind": (zipped(tensor_pickle((4,), (1,), 4, kind=b"EvilStorage"), **{"data/0": bytes(16)}), "EvilStorage"),
    "big-endian": (zipped(byteorder=b"big"), "little-endian"),
    "cut": (zipped()[:60], "damaged|no file of torch.save"),
}


@pytest.mark.parametrize("name", HOSTILE_PICKLES)
def test_hostile_pickles_are_one_error(tmp_path, name):
    data, match = HOSTILE_PICKLES[name]
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    if match is None:  # strange, and harmless
        assert read_tensors(path, allow_pickle=True) == []
    else:
        refused(path, match, allow_pickle=True)


def test_a_compressed_archive_is_refused(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle((1 << 28,), (1,), 1 << 28))
        archive.writestr("archive/data/0", bytes(1 << 20))
    refused(path, "is compressed, which torch.save never does", allow_pickle=True)
