"""Opening a file or folder: its content determines the format and the config."""

import pytest
from checkpoint_data import CONFIG, save

from gptcore import CheckpointError
from gptcore.checkpoint.folder import WRITABLE
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.convert.conversion import differences
from gptcore.generation import GenerationConfig
from gptcore.spec.parameters import Head


@pytest.mark.parametrize("form", WRITABLE)
def test_the_content_of_a_file_determines_its_format(tmp_path, form):
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


@pytest.mark.parametrize(
    ("form", "width"), [(form, width) for form in FORMATS for width in (10, 128) if (form, width) != ("openai", 128)]
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
def test_json_with_a_byte_order_mark_is_read(tmp_path, encoding):
    """As Notepad, PowerShell and some editors write JSON."""
    openai = save(tmp_path / "openai", Head.NONE, form="openai")
    sharded = save(tmp_path / "sharded", Head.NONE, max_shard_size="1KB")
    GenerationConfig(top_k=7).save_pretrained(sharded)
    before = [open_checkpoint(openai), open_checkpoint(sharded)]
    for path in [*openai.glob("*.json"), *sharded.glob("*.json")]:
        path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert [open_checkpoint(openai), open_checkpoint(sharded)] == before
    assert GenerationConfig.from_pretrained(sharded).top_k == 7
