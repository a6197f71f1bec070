"""Folders of weights: shards, their index, and links, which cannot lead outside."""

import json
import os

import numpy as np
import pytest
from fresh_checkpoint import CONFIG, INDEX_NAME, WEIGHTS_NAME, save

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import read_tensors
from gptcore.errors import ConfigError, StorageError
from gptcore.spec.parameters import Head, parameters


@pytest.mark.parametrize("size", ["1KB", 900, "2 KiB"])
def test_shards_hold_the_values_of_a_single_file(tmp_path, size):
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
    with pytest.raises(ConfigError, match="max_shard_size"):
        save(tmp_path, Head.LM, max_shard_size=size)
    assert not list(tmp_path.glob("*.safetensors"))


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
    for spoil, message in (
        ("extra", r"'not\.there' is not in model-.*, where the index places it"),
        ("moved", r" is in model-.*, but the index places it in model-"),
        ("lost", r" is in model-.*, but the index does not list it"),
    ):
        weight_map = dict(index["weight_map"])
        names = list(weight_map)
        if spoil == "extra":
            weight_map["not.there"] = weight_map[names[0]]
        elif spoil == "moved":
            weight_map[names[0]] = next(f for f in weight_map.values() if f != weight_map[names[0]])
        else:
            del weight_map[names[0]]
        (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointError, match=message):
            open_pretrained(tmp_path, Head.LM)
    (tmp_path / "twice.safetensors").write_bytes((tmp_path / index["weight_map"][names[0]]).read_bytes())
    (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": {**index["weight_map"], "x": "twice.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"is in twice\.safetensors, but the index places it in model-"):
        open_pretrained(tmp_path, Head.LM)
    for text in ("", "[]", "{}", '{"weight_map": 3}', "[" * 200_000):
        (tmp_path / INDEX_NAME).write_text(text)
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path)


def test_an_index_that_is_a_link_or_too_large_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "a", Head.LM, max_shard_size="1KB")
    monkeypatch.setattr("gptcore.checkpoint.shards.MAX_INDEX_BYTES", 100)
    with pytest.raises(CheckpointError, match="must have at most 100 bytes"):
        read_tensors(tmp_path / "a")
    monkeypatch.undo()
    (tmp_path / "a" / INDEX_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / "a" / INDEX_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="points outside the folder"):
        read_tensors(tmp_path / "a")


def test_a_save_that_fails_leaves_the_old_checkpoint(folder, monkeypatch):
    before = (folder / WEIGHTS_NAME).read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"No space left on device. Its previous content is unchanged"):
        save(folder, Head.SEQUENCE_CLASSIFICATION)
    monkeypatch.undo()
    assert (folder / WEIGHTS_NAME).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", WEIGHTS_NAME]


def test_a_file_is_refused_where_a_folder_must_be(folder):
    with pytest.raises(StorageError, match="is a file"):
        save(folder / WEIGHTS_NAME, Head.LM)
    with pytest.raises(CheckpointError, match="is not a recognised weights file"):
        open_pretrained(folder / "config.json", Head.LM)
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        open_pretrained(folder, Head.LM)
