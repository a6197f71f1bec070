"""Every format in, every format out, without any framework; and no file does harm."""

import errno
import io
import itertools
import json
import os
import pickle
import re
import resource
import shutil
import struct
import subprocess
import sys
import textwrap
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from checkpoint_data import CONFIG, Payload, content, legacy_file, pack, save, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import WRITABLE, read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.formats.ocdbt import MAGIC
from gptcore.checkpoint.formats.reading import occurrences
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.convert.conversion import convert_checkpoint, differences
from gptcore.errors import GPTError
from gptcore.generation import GenerationConfig
from gptcore.installation import install_command
from gptcore.spec.parameters import Head, parameters
from gptcore.storage.transaction import JOURNAL_NAME, PREFIX, Transaction, recover

DTYPES = ("float32", "float16", "bfloat16")


def can_hold(form, head, dtype):
    """What a format is not made for: OpenAI's has no heads, and two have no bfloat16."""
    if form == "openai" and head not in (Head.NONE, Head.LM):
        return False
    return form not in ("openai", "tf") or dtype != "bfloat16"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)
def test_every_reader_and_every_writer(tmp_path, head, dtype):
    """All pairs of formats: the same bits, the same config."""
    forms = [form for form in WRITABLE if can_hold(form, head, dtype)]
    assert len(forms) >= 4
    for form in forms:
        save(tmp_path / form, head, dtype, form)
    wanted = dict(open_pretrained(tmp_path / "safetensors", head, "auto").values())
    for first, second in itertools.product(forms, forms):
        source = open_checkpoint(tmp_path / first, allow_pickle=True, head=head)
        assert source.dtype == dtype
        target = tmp_path / f"{first}-{second}"
        rounding = convert_checkpoint(source, target, second)
        assert (rounding.largest, rounding.changed, rounding.infinite) == (0, 0, 0)
        loaded = open_pretrained(target, head, "auto", allow_pickle=True)
        assert loaded.config.replace(extra={}) == CONFIG.replace(extra={})
        assert loaded.report() == {"missing_keys": [], "unexpected_keys": []}
        for name, array in loaded.values():
            assert array.tobytes() == wanted[name].tobytes(), (first, second, name)


@pytest.mark.parametrize("form", WRITABLE)
def test_what_a_format_cannot_hold(tmp_path, form):
    for head, dtype in itertools.product(Head, DTYPES):
        if not can_hold(form, head, dtype):
            with pytest.raises(CheckpointError, match=r"dtype of format .* got bfloat16|holds the trunk only"):
                save(tmp_path / "new", head, dtype, form)
            assert not (tmp_path / "new").exists()


def test_unknown_formats_and_models_are_named(tmp_path):
    save(tmp_path / "a", Head.LM)
    with pytest.raises(CheckpointError, match=r"the format must be one of safetensors, tf, keras.*; got 'onnx'"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "onnx")
    with pytest.raises(CheckpointError, match="does not support shards"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "flax", max_shard_size="1KB")
    with pytest.raises(CheckpointError, match="into itself"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "a", "flax")
    save(tmp_path / "base", Head.NONE)
    with pytest.raises(CheckpointError, match=r"cannot convert .*: it lacks score\.weight. gptcore inspect"):
        convert_checkpoint(
            open_checkpoint(tmp_path / "base", head=Head.SEQUENCE_CLASSIFICATION), tmp_path / "b", "flax"
        )
    assert not (tmp_path / "b").exists()


def test_rounding_is_reported(tmp_path):
    save(tmp_path / "a", Head.LM)
    source = open_checkpoint(tmp_path / "a")
    rounding = convert_checkpoint(source, tmp_path / "b", "flax", dtype="float16")
    exact = np.concatenate([tensor.read().ravel() for tensor in source.matching.sources.values()])
    rounded = exact.astype(np.float16).astype(np.float64)
    assert rounding.largest == np.abs(rounded - exact).max()
    assert rounding.changed == (rounded != exact).sum()
    assert rounding.infinite == 0
    assert len(list(differences(source, open_checkpoint(tmp_path / "b")))) > 10


def test_a_conversion_is_compared_in_parts(tmp_path):
    """What lies row by row is compared in the files themselves: little memory, however large a tensor is."""
    config = CONFIG.replace(vocab_size=2**17)  # 5 MB
    source = open_checkpoint(save(tmp_path / "old", Head.NONE, config=config))
    tracemalloc.start()
    convert_checkpoint(source, tmp_path / "new", "flax")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("size", ["1KB", "3KB"])
def test_shards_of_torch(tmp_path, size):
    save(tmp_path / "a", Head.LM)
    convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "pytorch", max_shard_size=size)
    assert len(list((tmp_path / "b").glob("pytorch_model-*-of-*.bin"))) > 2
    assert not list(differences(open_checkpoint(tmp_path / "a"), open_checkpoint(tmp_path / "b", allow_pickle=True)))


@pytest.mark.parametrize("form", WRITABLE)
def test_content_decides_not_the_name(tmp_path, form):
    """A file of any format under the name of another; and one file alone, without its folder."""
    save(tmp_path / "a", Head.NONE)
    save(tmp_path / "b", Head.NONE, form=form)
    if form == "openai":
        return
    for name in ("weights.dat", "model.safetensors", "tf_model.h5"):
        alone = tmp_path / f"{form}-{name}"
        alone.mkdir()
        (tmp_path / "b" / FORMATS[form].file_name).replace(alone / name)
        source = open_checkpoint(alone / name, allow_pickle=True, n_head=CONFIG.n_head)
        assert not list(differences(open_checkpoint(tmp_path / "a"), source))
        (alone / name).replace(tmp_path / "b" / FORMATS[form].file_name)


def test_the_shapes_of_openai_determine_the_config(tmp_path):
    save(tmp_path, Head.NONE, form="openai", config=CONFIG.replace(n_embd=128, n_head=2))
    (tmp_path / "config.json").unlink()
    config = open_checkpoint(tmp_path).config
    assert (config.n_layer, config.n_embd, config.n_head, config.vocab_size, config.n_positions) == (2, 128, 2, 31, 7)


@pytest.mark.parametrize(
    ("form", "width"), [("openai", 10), *((form, width) for form in FORMATS for width in (10, 128))]
)
def test_heads_are_never_guessed(tmp_path, form, width):
    """No shape tells 2 heads of 64 values from 1 of 128; transformers' Trainer saves our models without a config."""
    saved = CONFIG.replace(n_embd=width, n_head=1)
    save(tmp_path, Head.NONE, form=form, config=saved)
    (tmp_path / "config.json").unlink()
    paths = [tmp_path] if form == "openai" else [tmp_path, tmp_path / FORMATS[form].file_name]
    for path in paths:
        with pytest.raises(CheckpointError, match=r"config.json is missing, and no shape determines n_head\. Save"):
            open_checkpoint(path, allow_pickle=True)
        assert open_checkpoint(path, allow_pickle=True, n_head=1, num_labels=3).config == saved


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_byte_order_mark(tmp_path, encoding):
    """As Notepad, PowerShell and some editors write JSON."""
    openai = save(tmp_path / "openai", Head.NONE, form="openai")
    sharded = save(tmp_path / "sharded", Head.NONE, max_shard_size="1KB")
    GenerationConfig(top_k=7).save_pretrained(sharded)
    before = [open_checkpoint(openai), open_checkpoint(sharded)]
    for path in [*openai.glob("*.json"), *sharded.glob("*.json")]:
        path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert [open_checkpoint(openai), open_checkpoint(sharded)] == before
    assert GenerationConfig.from_pretrained(sharded).top_k == 7


def test_names_of_wrappers_are_taken_off(tmp_path):
    """DataParallel and torch.compile put a prefix before every name."""
    tensors = [(parameter, None) for parameter in parameters(CONFIG).values()]
    save(tmp_path / "a", Head.LM, form="pytorch")
    file = tmp_path / "a" / "pytorch_model.bin"
    for prefix in (b"module.", b"_orig_mod."):
        rename_in_pickle(file, tmp_path / "b.bin", prefix)
        found = read_tensors(tmp_path / "b.bin", allow_pickle=True)
        assert {tensor.parameter for tensor in found} == {parameter.name for parameter, _ in tensors}


def test_names_of_a_model_built_outside_a_scope(tmp_path):
    """transformers' TensorFlow classes then leave the name of the model out."""
    save(tmp_path / "a", Head.LM, form="tf")
    wanted = [tensor.parameter for tensor in read_tensors(tmp_path / "a")]
    with h5py.File(tmp_path / "a" / "tf_model.h5", "r+") as file:
        file.move("transformer/tf_open_aigptlm_head_model/transformer", "transformer/transformer")
    assert [tensor.parameter for tensor in read_tensors(tmp_path / "a")] == wanted
    assert "tokens_embed.weight" in wanted


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


def items(folder, head=Head.NONE, **options):
    """An item of ours, and the two kinds that Orbax writes."""
    ours = save(folder / "ours", head, form="orbax", **options) / "orbax_checkpoint"
    return ours, pack(ours, folder / "packed"), pack(ours, folder / "loose", ocdbt=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_stores_of_orbax(tmp_path, dtype):
    """One store for all or one for each array, whole or from a mesh of devices: the same bits."""
    ours, *others = items(tmp_path, Head.LM, dtype=dtype)
    others += [pack(ours, tmp_path / f"mesh{ocdbt}", ocdbt=ocdbt, halves=True) for ocdbt in (True, False)]
    wanted = {tensor.parameter: tensor for tensor in read_tensors(ours)}
    for item in others:
        found = {tensor.parameter: tensor for tensor in read_tensors(item)}
        assert list(found) == list(wanted)
        assert set(found) == set(parameters(CONFIG))
        for name, tensor in wanted.items():
            assert found[name].dtype == dtype
            assert found[name].read().tobytes() == tensor.read().tobytes()


@pytest.mark.parametrize("library", ["tensorstore", "zstandard"])
def test_only_packed_stores_need_libraries(tmp_path, monkeypatch, library):
    ours, packed, loose = items(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    message = rf"^packed Orbax checkpoints need {library}: {re.escape(install_command('convert'))}$"
    assert [tensor.read() for tensor in read_tensors(ours)]
    with pytest.raises(GPTError, match=message):
        read_tensors(packed)
    if library == "tensorstore":
        tensor = read_tensors(loose)[0]
        with pytest.raises(GPTError, match=message):
            tensor.read()


def test_the_config_is_in_an_item_or_beside_it(tmp_path):
    item = items(tmp_path)[0]
    assert open_checkpoint(item).config.n_head == CONFIG.n_head
    (tmp_path / "ours" / "config.json").rename(item / "config.json")
    assert open_checkpoint(item).config.n_head == CONFIG.n_head
    (item / "config.json").unlink()
    with pytest.raises(CheckpointError, match="no shape determines n_head"):
        open_checkpoint(item)


def test_an_item_with_the_state_of_training(tmp_path):
    """The model is found beside its optimizer, whose moments have the names of parameters, too."""
    item = items(tmp_path, Head.LM)[0]
    wanted = dict(open_pretrained(item, Head.LM).values())
    for array in [path for path in item.iterdir() if path.is_dir()]:
        shutil.copytree(array, item / f"1.opt_state.mu.{array.name}.value")
        array.rename(item / f"0.{array.name}.value")
    shutil.copytree(item / "0.transformer.h.0.ln_1.bias.value", item / "0.transformer.drop.rngs.count.value")
    source = open_pretrained(item, Head.LM)
    assert len(source.report()["unexpected_keys"]) == len(wanted) + 1
    for name, array in source.values():
        np.testing.assert_array_equal(array, wanted[name])
    for array in item.glob("1.*"):
        array.rename(item / f"1.{array.name.removeprefix('1.opt_state.mu.')}")
    refused(item, "several models, at 0., 1.. Save one")


# --- hostile files ---------------------------------------------------------------------------------------------------


def refused(path, match, **options):
    """One ``CheckpointError`` that names the file, at once."""
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=match) as caught:
        read_tensors(path, **options)
    assert str(path) in str(caught.value)
    assert time.monotonic() - start < 5


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
    "a list": (zipped(b"]."), "found list"),
    "a number": (zipped(b"\x80\x02}X\x01\x00\x00\x00aK\x05s."), "'a' must be a tensor; found int"),
    "huge memo": (zipped(b"\x80\x02}r\xff\xff\xff\xff."), None),
    "huge string": (zipped(b"\x80\x02X\xff\xff\xff\x7fabc."), "damaged"),
    "deep": (zipped(b"(" * 100_000 + b"t" * 100_000 + b"."), "found tuple"),
    "backslash": (zipped(b"c\\ x\ny\n."), "found Global"),
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
def test_hostile_hdf5(tmp_path, kind, match):
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


def test_a_heap_of_hdf5_that_never_ends(tmp_path):
    """A free block that is its own next one, which the HDF5 library follows until the memory is full."""
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    data = bytearray(path.read_bytes())
    heap = data.index(b"HEAP") + 8
    _, block, begin = struct.unpack_from("<QQQ", data, heap)
    assert struct.unpack_from("<Q", data, begin + block) == (1,)  # the last
    struct.pack_into("<Q", data, begin + block, block)
    path.write_bytes(data)
    refused(path, "its heaps have more than 100000 free blocks")


def test_a_file_that_begins_anew_everywhere_is_refused(tmp_path):
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    path.write_bytes(path.read_bytes() + b"HEAP\0" * 100_000)
    refused(path, r"the bytes b'HEAP.* occur more than 100,000 times")


@pytest.mark.parametrize("edge", [0, 1 << 20, (2 << 20) - 4])  # a file is read a MiB at a time, with an overlap
def test_what_lies_across_the_parts_of_a_file_is_found(edge):
    places = sorted({max(edge + offset, 0) for offset in (-13, -8, -3, 2)} | {3 << 20})
    data = bytearray((3 << 20) + 5)
    for place in places:
        data[place : place + 5] = b"HEAP\0"
    assert list(occurrences(io.BytesIO(data), re.compile(rb"HEAP\0"), 5)) == [
        place for place in places if data[place : place + 5] == b"HEAP\0"
    ]


def test_addresses_of_hdf5_that_count_from_elsewhere(tmp_path):
    path = save(tmp_path, Head.NONE, form="keras") / "model.weights.h5"
    data = bytearray(path.read_bytes())
    for place, value in ((13, 4), (24, 1), (8, 2)):  # bytes of an address; where they count from; another version
        changed = data.copy()
        changed[place] = value
        path.write_bytes(changed)
        refused(path, "unsupported HDF5 superblock")


HOSTILE_MSGPACK = {
    "a list": (b"\x91\x01", "not a recognised weights file"),
    "no value": (b"\x81\xa1a", "damaged"),
    "a number": (b"\x81\xa1a\x05", "'a' is not an array"),
    "another extension": (b"\x81\xa1a\xd4\x02\x00", "found another msgpack extension"),
    "size bomb": (
        b"\x81\xa1a\xc9\xff\xff\xff\xff\x01\x93\x91\xce\x3f\xff\xff\xff\xa7float32\xc6\xff\xff\xff\xfc",
        "claims",
    ),
    "many entries": (b"\xdf\xff\xff\xff\xff\xa1a\x80", "damaged"),
    "deep": (b"\x81\xa1a" * 10_000, "more than 16 deep"),
    "same name": (b"\x82\xa1a\x80\xa1a\x80", "occurs twice"),
    "rest": (b"\x80\x00", "belong to no tensor"),
    "shape and size": (b"\x81\xa1a\xc7\x10\x01\x93\x91\x02\xa7float32\xc4\x04abcd", "cannot have 4 bytes"),
    "empty": (b"", "not a recognised weights file"),
}


@pytest.mark.parametrize("name", HOSTILE_MSGPACK)
def test_hostile_msgpack(tmp_path, name):
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(HOSTILE_MSGPACK[name][0])
    refused(path, HOSTILE_MSGPACK[name][1])


@pytest.mark.parametrize(
    "shapes", ["", "{}", "[]", "[[1e3]]", "[[-1]]", "[[true]]", "[" * 50_000, json.dumps([[3]] * 14), "[[1]]" * 9]
)
def test_hostile_openai_shapes(tmp_path, shapes):
    save(tmp_path, Head.NONE, form="openai")
    (tmp_path / "params_shapes.json").write_text(shapes)
    with pytest.raises(CheckpointError, match=r"params_shapes\.json"):
        read_tensors(tmp_path)


def test_hostile_openai_numbers(tmp_path):
    save(tmp_path, Head.NONE, form="openai")
    first = tmp_path / "params_0.npy"
    whole = first.read_bytes()
    np.save(first, np.array([Payload(tmp_path / "made")], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match=r"params_0\.npy"):
        read_tensors(tmp_path)
    assert not (tmp_path / "made").exists()
    headers = (b"{", b"{'descr': '<f4', 'shape': (9,", b"  1\n 2", b"(" * 118, b"{'shape': 1}", b"3")
    changed = [whole[:10] + header.ljust(118) + whole[128:] for header in headers]
    for data in (b"", whole[:-1], whole[:20], *changed):
        first.write_bytes(data)
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path)
    first.unlink()
    with pytest.raises(CheckpointError, match=r"params_0\.npy is missing"):
        read_tensors(tmp_path)


ZARRAY = {
    "zarr_format": 2, "shape": [10], "chunks": [10], "dtype": "<f4", "compressor": None, "fill_value": None,
    "filters": None, "order": "C", "dimension_separator": ".",
}  # fmt: skip
HOSTILE_ARRAYS = {
    "empty": ("", r"\.zarray: damaged JSON"),
    "a list": ("[]", "must be an object; found list"),
    "deep": ("[" * 60_000, r"\.zarray: damaged JSON"),
    "large": (" " * 70_000 + "{}", "more than 65536 bytes"),
    "no shape": ({"shape": None}, "must have at most 8 sizes; found None"),
    "many axes": ({"shape": [1] * 9, "chunks": [1] * 9}, "at most 8 sizes"),
    "fraction": ({"shape": [10.0]}, "has invalid sizes"),
    "boolean": ({"shape": [True], "chunks": [1]}, "has invalid sizes"),
    "negative": ({"shape": [-10]}, "has invalid sizes"),
    "huge": ({"shape": [1 << 64], "chunks": [1 << 64]}, "has invalid sizes"),
    "chunks of nothing": ({"chunks": [0]}, "has invalid sizes"),
    "other axes": ({"chunks": [10, 1]}, r"inconsistent shape \(10,\), chunks \(10, 1\)"),
    "structure": ({"dtype": [["a", "<f4"]]}, "has inconsistent shape"),
    "shape bomb": ({"shape": [1 << 39], "chunks": [1 << 39]}, "claim 2,199,023.* bytes, but its files hold"),
    "chunk bomb": ({"chunks": [1 << 39]}, "claim 2,199,023.* bytes, but its files hold"),
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
def test_hostile_arrays_of_orbax(tmp_path, name):
    claim, match = HOSTILE_ARRAYS[name]
    item = items(tmp_path)[0]
    text = claim if isinstance(claim, str) else json.dumps({**ZARRAY, **claim})
    (item / "h.0.ln_1.bias" / ".zarray").write_text(text)
    refused(item, match)


@pytest.mark.parametrize(
    "change", [{"shape": [9], "chunks": [9]}, {"shape": [1 << 12], "chunks": [1 << 12]}, {"dtype": "<f8"}]
)
@pytest.mark.parametrize("ocdbt", [True, False])
def test_packed_values_that_are_not_what_they_should_be(tmp_path, change, ocdbt):
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
def test_hostile_items_of_orbax(tmp_path, name):
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
def test_hostile_stores_of_orbax(tmp_path, name):
    """What the library that opens them does not measure is measured before."""
    change, match = HOSTILE_STORES[name]
    item = items(tmp_path)[1]
    change(item)
    refused(item, match)


def test_zeros_that_an_old_orbax_left_out(tmp_path):
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


DAMAGED = [form for form in FORMATS if form not in ("safetensors", "orbax")]


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


# --- saves that are interrupted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITABLE)
def test_a_killed_save_leaves_the_old_or_the_new(tmp_path, form):
    """A process saves two models in turn over each other and is killed at some moment."""
    kills = int(os.environ.get("GPTCORE_SAVE_KILLS", "3"))
    folder = tmp_path / "model"
    code = textwrap.dedent(f"""
        import itertools, sys
        from checkpoint_data import CONFIG, save
        from gptcore.spec.parameters import Head
        for layers in itertools.cycle((1, 3)):
            save({str(folder)!r}, Head.NONE, form={form!r}, config=CONFIG.replace(n_layer=layers))
            print(layers, flush=True)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    stream = np.random.default_rng(WRITABLE.index(form))
    for _ in range(kills):
        saver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        saver.stdout.readline()
        time.sleep(stream.uniform(0, 0.3))
        saver.kill()
        saver.communicate()
        source = open_pretrained(folder, Head.NONE, allow_pickle=True)
        config = CONFIG.replace(n_layer=source.config.n_layer)
        wanted = dict(
            open_pretrained(save(tmp_path / f"{config.n_layer}", Head.NONE, config=config), Head.NONE).values()
        )
        for name, array in source.values():
            np.testing.assert_array_equal(array, wanted[name])


def decide(folder, monkeypatch, form):
    """A save over a checkpoint of two layers whose writer is gone as soon as it is decided."""
    save(folder, Head.NONE, form=form)
    with monkeypatch.context() as patch:
        patch.setattr("gptcore.storage.transaction.recover", lambda folder: None)
        save(folder, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    assert (folder / JOURNAL_NAME).exists()


def is_the_new_one(folder):
    """That nothing of the old one is left, and nothing of the save."""
    source = open_pretrained(folder, Head.NONE)
    assert source.config.n_layer == 1
    assert source.report() == {"missing_keys": [], "unexpected_keys": []}
    assert not [path for path in folder.iterdir() if path.name.startswith(PREFIX[:-1])]
    return True


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
def test_a_decided_save_is_finished_by_the_next_reader(tmp_path, monkeypatch, form):
    decide(tmp_path, monkeypatch, form)
    assert is_the_new_one(tmp_path)


def test_a_directory_that_was_half_replaced(tmp_path, monkeypatch):
    """The reader that finishes the save is killed while the old directory goes, and again before the new one comes."""
    decide(tmp_path, monkeypatch, "orbax")
    for half in (True, False):

        def killed(path, half=half):
            for array in list(path.iterdir())[: 5 if half else None]:
                shutil.rmtree(array) if array.is_dir() else array.unlink()
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("gptcore.storage.transaction._delete", killed)
            with pytest.raises(KeyboardInterrupt):
                read_tensors(tmp_path)
    assert is_the_new_one(tmp_path)


def test_two_readers_finish_a_save_at_once(tmp_path, monkeypatch):
    """Both see that the old directory has to go; the slower one must not take the new one for it."""
    decide(tmp_path, monkeypatch, "orbax")

    def slowly(path):
        time.sleep(0.2)
        shutil.rmtree(path)

    with monkeypatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setattr("gptcore.storage.transaction._delete", slowly)
        assert all(pool.map(is_the_new_one, [tmp_path] * 2))
    assert is_the_new_one(tmp_path)


def test_what_a_link_leads_to_is_not_removed(tmp_path):
    kept = save(tmp_path / "kept", Head.NONE, form="orbax") / "orbax_checkpoint"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "orbax_checkpoint").symlink_to(kept)
    save(folder, Head.NONE, form="orbax")
    assert not (folder / "orbax_checkpoint").is_symlink()
    assert read_tensors(kept)


@pytest.mark.parametrize("form", WRITABLE)
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, form):
    """No file may grow beyond 3,000 bytes: the larger model does not fit, half-way through its weights."""
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"cannot write in .*: File too large. Its previous content"
        ) as caught:
            save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=5, n_embd=20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path) in str(caught.value)
    assert content(tmp_path) == before


def refuse(monkeypatch, call, number):
    """The file system answers a function of ``os`` with this error."""

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "chmod"])
def test_file_systems_without_a_call(tmp_path, monkeypatch, form, number, call):
    """Google Drive, Windows shares and FUSE."""
    save(tmp_path, Head.NONE, form=form)
    refuse(monkeypatch, call, number)
    save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    CONFIG.save_pretrained(tmp_path / "config")
    assert is_the_new_one(tmp_path)


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failing_disk_stops_a_save(tmp_path, monkeypatch, form, number):
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    refuse(monkeypatch, "fsync", number)
    with pytest.raises(CheckpointError, match=r"cannot write .*\. Its previous content is unchanged"):
        save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    monkeypatch.undo()
    assert content(tmp_path) == before


@pytest.mark.parametrize("form", WRITABLE)
def test_no_permission(tmp_path, form, monkeypatch):
    """Reading and writing; as the system's answer to ``open``, since root may open everything."""
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(CheckpointError, match=r"cannot write in .*: Permission denied. Its previous content"):
        save(tmp_path, Head.NONE, form=form)
    for reads in (read_tensors, open_checkpoint):
        with pytest.raises(CheckpointError, match=r"cannot read .*: Permission denied"):
            reads(tmp_path, allow_pickle=True)
    monkeypatch.undo()
    assert content(tmp_path) == before


def forbidden(*_, **__):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "[]",
        "{}",
        '{"rename": {".gptcore-save-1": "../x"}, "remove": []}',
        '{"rename": {"config.json": "x"}, "remove": []}',
        '{"rename": {}, "remove": ["/etc/passwd"]}',
        '{"rename": {}, "remove": [7]}',
    ],
)
def test_a_hostile_journal_is_refused(tmp_path, journal):
    (tmp_path / JOURNAL_NAME).write_text(journal)
    with pytest.raises(CheckpointError, match=r"\.gptcore-save\.json is damaged"):
        recover(tmp_path)


def test_a_transaction_that_fails_changes_nothing(tmp_path):
    (tmp_path / "old").write_text("old")

    def half():
        with Transaction(tmp_path) as changes:
            with changes.file("old") as file:
                file.write(b"new")
            with changes.directory("new") as directory:
                (directory / "file").write_text("new")
            changes.remove("old")
            raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


# --- the commands ----------------------------------------------------------------------------------------------------


def test_convert_and_inspect(tmp_path, run):
    save(tmp_path / "a", Head.SEQUENCE_CLASSIFICATION)
    status, _, told = run(
        "convert", tmp_path / "a", tmp_path / "b", "--to", "pytorch", "--dtype", "bfloat16", "--quiet"
    )
    assert status == 0
    assert "values were rounded" in told
    status, _, told = run("inspect", tmp_path / "b")
    assert status == 2
    assert "--allow-pickle" in told
    status, out, _ = run("inspect", tmp_path / "b", "--allow-pickle", "--json")
    found = json.loads(out)
    assert (status, found["model"], found["problems"]) == (0, "OpenAIGPTForSequenceClassification", [])
    assert found["formats"] == ["pytorch"]
    assert found["loads"]["OpenAIGPTDoubleHeadsModel"]["fresh"]
    assert {tensor["dtype"] for tensor in found["tensors"]} == {"bfloat16"}
    status, out, _ = run("inspect", tmp_path / "b", "--allow-pickle")
    assert status == 0
    assert "OpenAIGPTForSequenceClassification" in out


def test_convert_replaces_nothing_unless_it_is_told_to(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    target = tmp_path / "[" / "b]"  # a tag of Rich
    target.mkdir(parents=True)
    command = ("convert", tmp_path / "a", target, "--to", "flax")
    status, _, told = run(*command)
    written = "OpenAIGPTLMHeadModel, flax, float32; read back, all values equal"
    assert (status, told) == (0, f"{target}: {written}\n")
    before = content(target)
    status, _, told = run("convert", "nowhere", *command[2:])
    advice = "Add --force to replace them, or choose another folder."
    assert (status, told) == (2, f"error: {target} already holds files. {advice}\n")
    assert content(target) == before
    assert run(*command, "--force", "--dtype", "float16")[0] == 0
    assert content(target) != before
    status, out, _ = run("inspect", target)
    assert (status, out.startswith(f"{target}: flax_model.msgpack")) == (0, True)
    (tmp_path / "c").write_text("mine")
    for more in ((), ("--force",)):
        status, _, told = run("convert", tmp_path / "a", tmp_path / "c", "--to", "flax", *more)
        assert (status, "OUTPUT must be a folder; got the file" in told) == (2, True)
    assert (tmp_path / "c").read_text() == "mine"


def test_verify_against_another(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    save(tmp_path / "b", Head.LM, form="flax")
    status, out, _ = run("verify", tmp_path / "a", "--against", tmp_path / "b")
    assert status == 0
    assert "26 of 26 parameters are the same" in out
    save(tmp_path / "b", Head.LM, "float16", form="flax")
    status, out, _ = run("verify", tmp_path / "a", "--against", tmp_path / "b")
    assert status == 1
    assert "tokens_embed.weight: differs by" in out


def test_inspect_tells_problems(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    (tmp_path / "a" / "config.json").write_text('{"n_layer": 3}')
    status, out, _ = run("inspect", tmp_path / "a", "--json")
    assert status == 1
    assert "must have shape (40478, 768)" in json.loads(out)["problems"][0]
