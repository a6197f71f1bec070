"""OpenAI's own files: params_shapes.json and ten files of numbers."""

import json

import numpy as np
import pytest
from checkpoint_data import CONFIG, Payload, save

from gptcore import CheckpointError
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.spec.parameters import Head


def test_the_shapes_of_openai_determine_the_config(tmp_path):
    save(tmp_path, Head.NONE, form="openai", config=CONFIG.replace(n_embd=128, n_head=2))
    (tmp_path / "config.json").unlink()
    config = open_checkpoint(tmp_path).config
    assert (config.n_layer, config.n_embd, config.n_head, config.vocab_size, config.n_positions) == (2, 128, 2, 31, 7)


@pytest.mark.parametrize(
    "shapes", ["", "{}", "[]", "[[1e3]]", "[[-1]]", "[[true]]", "[" * 50_000, json.dumps([[3]] * 14), "[[1]]" * 9]
)
def test_hostile_openai_shapes_are_one_error(tmp_path, shapes):
    save(tmp_path, Head.NONE, form="openai")
    (tmp_path / "params_shapes.json").write_text(shapes)
    with pytest.raises(CheckpointError, match=r"params_shapes\.json"):
        read_tensors(tmp_path)


def test_hostile_openai_numbers_are_one_error(tmp_path):
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


def test_openai_files_in_the_cache_of_the_hub_are_recognised(tmp_path):
    """The cache stores files by their hash, and links to them."""
    saved = save(tmp_path / "saved", Head.NONE, form="openai", config=CONFIG.replace(n_embd=128, n_head=2))
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / ("0" * 40), tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(saved.glob("params_*")):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(blobs / str(number))
    checkpoint = open_checkpoint(snapshot)
    assert checkpoint.form == "openai"
    assert checkpoint.config.n_head == 2
