"""Every format becomes every other: the same bits, the same config, and a report of what was rounded."""

import itertools
import tracemalloc

import numpy as np
import pytest
from checkpoint_data import CONFIG, DTYPES, save

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import WRITABLE
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.convert.conversion import convert_checkpoint, differences
from gptcore.errors import ConfigError
from gptcore.spec.parameters import Head


def can_hold(form, head, dtype):
    """What a format is not made for: OpenAI's has no heads, and two have no bfloat16."""
    if form == "openai" and head not in (Head.NONE, Head.LM):
        return False
    return form not in ("openai", "tf") or dtype != "bfloat16"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)
def test_every_format_becomes_every_other_without_loss(tmp_path, head, dtype):
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
def test_a_format_refuses_what_it_cannot_hold(tmp_path, form):
    for head, dtype in itertools.product(Head, DTYPES):
        if not can_hold(form, head, dtype):
            with pytest.raises(
                (CheckpointError, ConfigError), match=r"dtype of format .* got bfloat16|holds the trunk only"
            ):
                save(tmp_path / "new", head, dtype, form)
            assert not (tmp_path / "new").exists()


def test_unknown_formats_and_models_are_named(tmp_path):
    save(tmp_path / "a", Head.LM)
    with pytest.raises(ConfigError, match=r"the format must be one of safetensors, tf, keras.*; got 'onnx'"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "onnx")
    with pytest.raises(ConfigError, match="does not support shards"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "flax", max_shard_size="1KB")
    with pytest.raises(ConfigError, match="into itself"):
        convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "a", "flax")
    save(tmp_path / "base", Head.NONE)
    with pytest.raises(CheckpointError, match=r"cannot convert .*: it lacks score\.weight. gptcore inspect"):
        convert_checkpoint(
            open_checkpoint(tmp_path / "base", head=Head.SEQUENCE_CLASSIFICATION), tmp_path / "b", "flax"
        )
    assert not (tmp_path / "b").exists()


def test_a_conversion_reports_its_rounding(tmp_path):
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
def test_pytorch_shards_hold_the_same_values(tmp_path, size):
    save(tmp_path / "a", Head.LM)
    convert_checkpoint(open_checkpoint(tmp_path / "a"), tmp_path / "b", "pytorch", max_shard_size=size)
    assert len(list((tmp_path / "b").glob("pytorch_model-*-of-*.bin"))) > 2
    assert not list(differences(open_checkpoint(tmp_path / "a"), open_checkpoint(tmp_path / "b", allow_pickle=True)))
