"""The examples of ``docs/guides/other-libraries.md`` run; opt-in."""

import re
from pathlib import Path

import pytest
import torch

from gpt_torch import OpenAIGPTLMHeadModel

PAGE = Path(__file__).parent.parent.parent / "docs" / "guides" / "other-libraries.md"


@pytest.mark.filterwarnings("default")  # other libraries deprecate in their own time
def test_page(tmp_path, monkeypatch):
    """Top to bottom, as one program."""
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    expected = OpenAIGPTLMHeadModel.from_pretrained("merged")(names["ids"]).logits
    for logits in (names["logits"], names["same_logits"]):
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-3)
