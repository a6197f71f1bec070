"""The pages of the site show code in three frameworks: their results agree, and the check that says so can fail."""

import contextlib
import importlib.util
import io
import re
import sys
from pathlib import Path

import pytest
import torch

import gpt_torch.modeling

DOCS = Path(__file__).parents[2] / "docs"
specification = importlib.util.spec_from_file_location("agreement", DOCS / "extension" / "agreement.py")
agreement = importlib.util.module_from_spec(specification)
sys.modules["agreement"] = agreement  # where dataclasses look for it
specification.loader.exec_module(agreement)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A function (block, framework) -> its result, in an empty folder."""

    def run(code, framework):
        folder = tmp_path / framework
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        names, printed = {}, io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(agreement.translated(code, framework), "page", "exec"), names)
        return agreement.Result(printed.getvalue(), arrays=agreement.float_arrays(names))

    return run


def test_first_page(results, monkeypatch):
    """It agrees, and no longer does with another GELU in one framework."""
    (block, *_) = agreement.blocks((DOCS / "index.md").read_text(encoding="utf-8"))
    printed = {framework: results(block, framework) for framework in agreement.TITLES}
    assert all("logits" in result.arrays and result.text for result in printed.values())
    assert agreement.differences(printed) == []
    monkeypatch.setitem(gpt_torch.modeling.ACTIVATIONS, "gelu", torch.nn.functional.gelu)
    printed["torch"] = results(block, "torch")
    assert any("logits" in text for text in agreement.differences(printed))


def test_picture_of_the_stories():
    """It shows what the README shows, once for each framework."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (story,) = re.findall(r"```text\n(.*?)\n```", readme, re.DOTALL)
    picture = (DOCS / "_static" / "stories.svg").read_text(encoding="utf-8")
    assert " ".join(re.findall(r"<text.*?>(.*?)</text>", picture)).count(story) == 3


@pytest.mark.parametrize(
    ("texts", "same"),
    [
        (("loss 2.0091", "loss 2.0090"), True),
        (("loss 2.0091", "loss 2.0081"), False),
        (("1e-05 a 3.25e-04", "1e-05 a 3.26e-04"), True),
        (("[1.5, 2.5]", "[1.5]"), False),
        (("the dog", "the cat"), False),
        (("12 tokens", "13 tokens"), False),
        (("nan", "0.0"), False),
    ],
)
def test_printed_numbers(texts, same):
    assert agreement.same_text(*texts) is same


def test_code_of_each_framework():
    block = "import gpt_torch\n# Keras:\nOpenAIGPT()\n# All:\nm = gpt_torch.OpenAIGPTModel(OpenAIGPTConfig())"
    assert agreement.translated(block, "torch") == "import gpt_torch\nm = gpt_torch.OpenAIGPTModel(OpenAIGPTConfig())"
    assert agreement.translated(block, "tf").splitlines() == [
        *("import gpt_tf", "OpenAIGPT()", "m = gpt_tf.TFOpenAIGPTModel(OpenAIGPTConfig())"),
    ]
