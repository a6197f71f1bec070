"""Orbax items: ours, and those that Orbax itself writes."""

import re
import shutil
import sys

import numpy as np
import pytest
from checkpoint_data import CONFIG, DTYPES, items, pack
from refusals import refused

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.errors import GPTError
from gptcore.installation import install_command
from gptcore.spec.parameters import Head, parameters


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_kinds_of_orbax_stores_hold_the_same_bits(tmp_path, dtype):
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


def test_the_model_is_found_beside_its_optimizer(tmp_path):
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
