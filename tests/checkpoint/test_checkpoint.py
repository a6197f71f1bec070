"""Checkpoint folders: total and strict, atomic, and no file can do harm."""

import json
import os
import struct
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcore import CheckpointError, OpenAIGPTConfig
from gptcore.checkpoint import fresh_values, open_pretrained, save_pretrained
from gptcore.checkpoint.dtypes import STORAGE, convert
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.formats import safetensors as safetensors_format
from gptcore.errors import GPTError
from gptcore.spec.parameters import Head, parameters

WEIGHTS_NAME, INDEX_NAME = FORMATS["safetensors"].file_name, FORMATS["safetensors"].index_name
CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=10, n_head=5, n_layer=2)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, Head.LM)
    return tmp_path


def save(folder, head, **options):
    save_pretrained(folder, CONFIG, head, "float32", fresh_values(CONFIG, head, "float32", 0), **options)


def rewrite(folder, change):
    """Change the tensors of a folder with the safetensors library itself: a file that another program wrote."""
    tensors = safetensors.numpy.load_file(folder / WEIGHTS_NAME)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / WEIGHTS_NAME)


def test_what_we_write_the_library_reads(folder):
    tensors = safetensors.numpy.load_file(folder / WEIGHTS_NAME)
    expected = dict(fresh_values(CONFIG, Head.LM, "float32", 0))
    assert {name.removeprefix("transformer.") for name in tensors} == set(expected)
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, expected[name.removeprefix("transformer.")])


def test_all_problems_are_listed_at_once(folder):
    def spoil(tensors):
        del tensors["transformer.h.0.ln_1.bias"]
        tensors["transformer.h.1.ln_2.weight"] = np.ones(11, np.float32)
        tensors["transformer.h.2.ln_2.weight"] = np.ones(10, np.float32)
        tensors["transformer.h.1.mlp.c_fc.bias"] = np.ones(40, np.int32)

    rewrite(folder, spoil)
    with pytest.raises(CheckpointError) as caught:
        open_pretrained(folder, Head.LM)
    text = str(caught.value)
    assert "h.0.ln_1.bias (10,) is missing" in text
    assert "transformer.h.1.ln_2.weight must have shape (10,); got (11,)" in text
    assert "transformer.h.2.ln_2.weight (10,) is not a parameter of this model" in text
    assert "transformer.h.1.mlp.c_fc.bias must have one of the dtypes float64" in text


@pytest.mark.parametrize("stored", list(Head), ids=lambda head: head.value)
@pytest.mark.parametrize("wanted", list(Head), ids=lambda head: head.value)
def test_any_head_loads_into_any_other(tmp_path, stored, wanted):
    save(tmp_path, stored)
    source = open_pretrained(tmp_path, wanted)
    report = source.report()
    own, theirs = set(parameters(CONFIG, wanted)), set(parameters(CONFIG, stored))
    assert set(report["missing_keys"]) == own - theirs
    assert set(report["unexpected_keys"]) == theirs - own
    assert {name for name, _ in source.values()} == own


def test_another_number_of_labels(tmp_path):
    """The error says both ways out, and both work."""
    save(tmp_path, Head.SEQUENCE_CLASSIFICATION)
    with pytest.raises(CheckpointError) as caught:
        open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=4)
    assert str(caught.value).endswith(
        "score.weight must have shape (4, 10); got (2, 10). Pass the num_labels of the checkpoint, or "
        "ignore_mismatched_sizes=True for a fresh head."
    )
    assert open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=2).report()["missing_keys"] == []
    source = open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=4, ignore_mismatched_sizes=True)
    assert source.report() == {"missing_keys": ["score.weight"], "unexpected_keys": ["score.weight"]}
    assert dict(source.values())["score.weight"].shape == (4, 10)


def test_only_a_head_may_be_of_another_size(folder):
    for head, changes in ((Head.LM, {"vocab_size": 30}), (Head.DOUBLE_HEADS, {"n_embd": 15})):
        with pytest.raises(CheckpointError, match=r"tokens_embed\.weight must have shape .*; got \(31, 10\)"):
            open_pretrained(folder, head, ignore_mismatched_sizes=True, **changes)
    save(folder, Head.DOUBLE_HEADS)
    with pytest.raises(CheckpointError, match=r"Pass the summary_proj_to_labels of the checkpoint, or"):
        open_pretrained(folder, Head.DOUBLE_HEADS, summary_proj_to_labels=False)
    source = open_pretrained(folder, Head.DOUBLE_HEADS, summary_proj_to_labels=False, ignore_mismatched_sizes=True)
    assert len(source.report()["missing_keys"]) == 2


@pytest.mark.parametrize(
    ("stored", "names", "message"),
    [
        (["no", "yes"], ["yes", "no"], "its labels are renamed: 'no' to 'yes', 'yes' to 'no'"),
        (["no", "yes"], ["no", "maybe"], "its labels are renamed: 'yes' to 'maybe'"),
        (["no", "yes"], ["no", "yes"], ""),
        (["LABEL_0", "LABEL_1"], ["no", "yes"], ""),
    ],
)
def test_renamed_labels_are_warned_of(tmp_path, caplog, stored, names, message):
    """As in transformers, the head stays; but nobody should find out from the predictions."""
    config = CONFIG.replace(id2label=dict(enumerate(stored)))
    head = Head.SEQUENCE_CLASSIFICATION
    save_pretrained(tmp_path, config, head, "float32", fresh_values(config, head, "float32", 0))
    source = open_pretrained(tmp_path, head, id2label=dict(enumerate(names)))
    assert source.config.id2label == dict(enumerate(names))
    assert message in caplog.text
    assert bool(caplog.text) == bool(message)


@pytest.mark.parametrize(
    ("stored", "labels", "message"),
    [
        (["no", "yes"], ["no", "yes"], ""),
        (
            ["no", "yes"],
            ["yes", "no"],
            "2 labels ('no', 'yes') is replaced by a new, untrained one for 2 labels ('yes'",
        ),
        (
            ["LABEL_0", "LABEL_1"],
            ["no", "yes"],
            "for 2 labels ('LABEL_0', 'LABEL_1') is replaced",
        ),
        (["no", "yes"], list("abcdefg"), "for 7 labels ('a', 'b', 'c', 'd', 'e', ...)"),
        (["no", "yes"], 1, "for 2 labels ('no', 'yes') is replaced by a new, untrained one for scores"),
        (["LABEL_0"], 1, ""),
    ],
)
def test_training_for_other_labels_begins_with_a_fresh_head(tmp_path, caplog, stored, labels, message):
    config, head = CONFIG.replace(id2label=dict(enumerate(stored))), Head.SEQUENCE_CLASSIFICATION
    if len(stored) == 1:
        config = config.replace(problem_type="regression")
    save_pretrained(tmp_path, config, head, "float32", fresh_values(config, head, "float32", 0))
    scores = {"num_labels": 1, "problem_type": "regression"}
    wanted = scores if labels == 1 else {"num_labels": len(labels), "id2label": dict(enumerate(labels))}
    source = open_pretrained(tmp_path, head, ignore_mismatched_labels=True, **wanted)
    assert source.report()["missing_keys"] == (["score.weight"] if message else [])
    assert len(dict(source.values())["score.weight"]) == (1 if labels == 1 else len(labels))
    assert message in caplog.text
    assert len(caplog.records) == bool(message)


def test_old_files_load(folder):
    """Mask buffers, no prefix, and the tied head stored twice or instead of the embedding."""

    def as_of_old(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 7, 7), np.float32))
        tensors["lm_head.weight"] = tensors["tokens_embed.weight"].copy()

    rewrite(folder, as_of_old)
    before = dict(fresh_values(CONFIG, Head.LM, "float32", 0))
    source = open_pretrained(folder, Head.LM)
    assert source.report()["unexpected_keys"] == ["h.0.attn.bias", "lm_head.weight"]
    rewrite(folder, lambda tensors: tensors.pop("tokens_embed.weight"))
    for name, array in open_pretrained(folder, Head.LM).values():
        np.testing.assert_array_equal(array, before[name])


def test_an_untied_head_is_refused(folder):
    rewrite(folder, lambda t: t.update({"lm_head.weight": t["transformer.tokens_embed.weight"] + 1}))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight must equal transformer\.tokens_embed\.weight"):
        open_pretrained(folder, Head.LM)


def test_the_same_parameter_twice_is_refused(folder):
    rewrite(folder, lambda t: t.update({"h.0.ln_1.bias": t["transformer.h.0.ln_1.bias"]}))
    with pytest.raises(CheckpointError, match="are the same parameter"):
        open_pretrained(folder, Head.LM)


@pytest.mark.parametrize("size", ["1KB", 900, "2 KiB"])
def test_shards(tmp_path, size):
    save(tmp_path, Head.LM)
    single = dict(open_pretrained(tmp_path, Head.LM).values())
    save(tmp_path, Head.LM, max_shard_size=size)
    assert not (tmp_path / WEIGHTS_NAME).exists()
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    for name, array in open_pretrained(tmp_path, Head.LM).values():
        np.testing.assert_array_equal(array, single[name])
    save(tmp_path, Head.LM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS_NAME]


@pytest.mark.parametrize("size", ["0", "-1GB", "many", "1.5GB", 0])
def test_shard_sizes_are_checked(tmp_path, size):
    with pytest.raises(CheckpointError, match="max_shard_size"):
        save(tmp_path, Head.LM, max_shard_size=size)
    assert not list(tmp_path.glob("*.safetensors"))


# --- hostile files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x\0y", "C:\\x", 7, None]
)
def test_an_index_cannot_name_a_file_outside(folder, name):
    (folder / INDEX_NAME).write_text(json.dumps({"weight_map": {"tokens_embed.weight": name}}))
    (folder / WEIGHTS_NAME).rename(folder.parent / "secret.safetensors")
    with pytest.raises(CheckpointError):
        read_tensors(folder)


def test_a_link_cannot_lead_outside(folder):
    outside = folder.parent / f"{folder.name}-outside.safetensors"
    (folder / WEIGHTS_NAME).rename(outside)
    (folder / WEIGHTS_NAME).symlink_to(outside)
    with pytest.raises(CheckpointError, match="points outside the folder"):
        read_tensors(folder)


def test_the_layout_of_the_hub_cache_is_allowed(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    save(snapshot, Head.LM)
    for name in ("config.json", WEIGHTS_NAME):
        (snapshot / name).rename(blobs / f"blob-{name}")
        (snapshot / name).symlink_to(f"../../blobs/blob-{name}")
    assert len(read_tensors(snapshot)) == len(parameters(CONFIG))
    (snapshot / WEIGHTS_NAME).unlink()
    (snapshot / WEIGHTS_NAME).symlink_to("../../../elsewhere")
    with pytest.raises(CheckpointError, match=r"leads outside|has no weights"):
        read_tensors(snapshot)


def test_index_and_shards_must_agree(tmp_path):
    save(tmp_path, Head.LM, max_shard_size="1KB")
    index = json.loads((tmp_path / INDEX_NAME).read_text())
    for spoil in ("extra", "moved", "lost"):
        weight_map = dict(index["weight_map"])
        names = list(weight_map)
        if spoil == "extra":
            weight_map["not.there"] = weight_map[names[0]]
        elif spoil == "moved":
            weight_map[names[0]] = next(f for f in weight_map.values() if f != weight_map[names[0]])
        else:
            del weight_map[names[0]]
        (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointError):
            open_pretrained(tmp_path, Head.LM)
    (tmp_path / "twice.safetensors").write_bytes((tmp_path / index["weight_map"][names[0]]).read_bytes())
    (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": {**index["weight_map"], "x": "twice.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"is in twice\.safetensors, but the index places it in model-"):
        open_pretrained(tmp_path, Head.LM)
    for text in ("", "[]", "{}", '{"weight_map": 3}', "[" * 200_000):
        (tmp_path / INDEX_NAME).write_text(text)
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path)


def test_an_index_that_is_a_link_or_too_large(tmp_path, monkeypatch):
    save(tmp_path / "a", Head.LM, max_shard_size="1KB")
    monkeypatch.setattr("gptcore.checkpoint.folder.MAX_INDEX_BYTES", 100)
    with pytest.raises(CheckpointError, match="must have at most 100 bytes"):
        read_tensors(tmp_path / "a")
    monkeypatch.undo()
    (tmp_path / "a" / INDEX_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / "a" / INDEX_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="points outside the folder"):
        read_tensors(tmp_path / "a")


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


def test_a_save_that_fails_leaves_the_old_checkpoint(folder, monkeypatch):
    before = (folder / WEIGHTS_NAME).read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"No space left on device. Its previous content is unchanged"):
        save(folder, Head.SEQUENCE_CLASSIFICATION)
    monkeypatch.undo()
    assert (folder / WEIGHTS_NAME).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", WEIGHTS_NAME]


def test_a_file_is_not_a_folder(folder):
    with pytest.raises(CheckpointError, match="is a file"):
        save(folder / WEIGHTS_NAME, Head.LM)
    with pytest.raises(CheckpointError, match="is not a recognised weights file"):
        open_pretrained(folder / "config.json", Head.LM)
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        open_pretrained(folder, Head.LM)


# --- dtypes ----------------------------------------------------------------------------------------------------------


@given(st.floats(width=64, allow_subnormal=True))
def test_rounding_to_bfloat16_is_to_nearest_even(value):
    """Against exact neighbours: no bfloat16 is nearer, and at a tie the even one wins."""
    array = np.array([value])
    bits = convert(array, "float64", "bfloat16")
    rounded = float(convert(bits, "bfloat16", "float64")[0])
    if np.isnan(value):
        assert np.isnan(rounded)
        return
    largest = 3.3895313892515355e38
    if abs(value) > largest:
        assert abs(rounded) in (largest, np.inf)
        return
    around = [int(bits[0]) + step for step in (-1, 1) if 0 <= (int(bits[0]) & 0x7FFF) + step <= 0x7F80]
    for neighbour in around:
        other = float(convert(np.array([neighbour], np.uint16), "bfloat16", "float64")[0])
        distance, others = abs(rounded - value), abs(other - value)
        assert distance < others or (distance == others and int(bits[0]) % 2 == 0) or np.isinf(other)


@pytest.mark.parametrize("dtype", list(STORAGE))
def test_upcasting_is_exact(dtype):
    patterns = np.arange(65536, dtype=np.uint16)
    if dtype in ("float16", "bfloat16"):
        wide = convert(patterns.view(STORAGE[dtype]), dtype, "float64")
        back = convert(wide, "float64", dtype).view(np.uint16)
        same = (back == patterns) | np.isnan(wide)
        assert same.all()
    assert convert(np.zeros(3, STORAGE[dtype]), dtype, dtype).dtype == STORAGE[dtype]


def test_unknown_dtypes_are_named(folder):
    with pytest.raises(CheckpointError, match=r"dtype must be one of float64, float32.*; got 'int8'"):
        open_pretrained(folder, Head.LM, "int8")
