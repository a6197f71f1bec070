"""Each framework's models go to the hub and come back; and the card that goes with them is right for each model."""

import re

import numpy as np
import pytest
from checkpoint_data import CONFIG, save, values
from hub_server import TOKEN, serving

from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.convert.card import card_of
from gptcore.spec.parameters import Head

PREFIX = {"torch": "", "tf": "TF", "flax": "Flax"}


def test_a_model_is_pushed_and_comes_back(backend, tmp_path):
    """Bit for bit, twice: in shards to a new repository, then in one file over it."""
    name, head = f"{PREFIX[backend.name]}OpenAIGPTDoubleHeadsModel", Head.DOUBLE_HEADS
    save(tmp_path / "source", head, "bfloat16")
    with serving() as hub:
        code = f"""
            from gpt_{backend.name} import {name} as Model
            model = Model.from_pretrained({str(tmp_path / "source")!r}, dtype="auto")
            for number, size in enumerate(("1KB", None)):
                print(model.push_to_hub("owner/new", token={TOKEN!r}, private=True, max_shard_size=size))
                again = Model.from_pretrained("owner/new", dtype="auto", token={TOKEN!r})
                again.save_pretrained(f"{tmp_path}/{{number}}")
        """
        addresses = hub.run(code, tmp_path / "home").splitlines()
        repository = hub.repositories["owner/new"]
    first, second = repository.branches["main"][1:]
    assert [address.rpartition("/")[0] for address in addresses] == [f"{hub.url}/owner/new/commit"] * 2
    assert repository.private
    assert repository.messages == ["Upload OpenAIGPTDoubleHeadsModel"] * 2
    assert len([file for file in first if file.startswith("model-")]) > 3
    assert set(second) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    for number in range(2):
        found = dict(open_pretrained(tmp_path / str(number), head, "auto").values())
        for parameter, array in values(head, "bfloat16"):
            assert found.pop(parameter).tobytes() == np.ascontiguousarray(array).tobytes()
        assert not found


@pytest.mark.parametrize(("head", "form"), [*((head, "safetensors") for head in Head), (Head.LM, "pytorch")], ids=str)
def test_the_example_of_a_card_runs(backend, tmp_path, monkeypatch, head, form, capsys):
    folder = save(tmp_path, head, "float16", form, CONFIG)
    card = card_of(open_checkpoint(folder, allow_pickle=True))
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    blocks = [block for block in blocks if f"from gpt_{backend.name} import" in block]
    assert len(blocks) == 1
    monkeypatch.chdir(folder)
    exec(compile(blocks[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
