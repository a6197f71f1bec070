"""Where a checkpoint comes from: the words in its files, and the model card beside them."""

import json
import re

import pytest
import yaml
from checkpoint_data import CONFIG, content, save
from huggingface_hub import ModelCard
from safetensors import safe_open

import gptcore
from gptcore.checkpoint.folder import WRITABLE
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.convert.card import model_card
from gptcore.convert.conversion import convert_checkpoint
from gptcore.spec.parameters import Head
from gptcore.spec.tasks import TASK_TOKENS
from gptcore.storage.cards import is_generated, relocated

PRODUCER = f"gptcore {gptcore.__version__}"


def convert(source, folder, form="flax", **options):
    convert_checkpoint(open_checkpoint(source, allow_pickle=True), folder, form, **options)
    return (folder / "README.md").read_text()


def metadata(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.mark.parametrize("size", [None, "1KB"])
def test_a_file_says_who_wrote_it_and_from_what(tmp_path, size):
    save(tmp_path / "a", Head.LM, form="pytorch", max_shard_size=size)
    convert(tmp_path / "a", tmp_path / "b", "safetensors", max_shard_size=size)
    for path in (tmp_path / "b").glob("*.safetensors"):
        assert metadata(path) == {"format": "pt", "producer": PRODUCER, "converted_from": "pytorch, float32"}
    save(tmp_path / "c", Head.LM)
    assert metadata(tmp_path / "c" / "model.safetensors") == {"format": "pt", "producer": PRODUCER}


def test_a_repository_is_named_with_its_commit(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    save(snapshot, Head.LM)
    card = convert(snapshot, tmp_path / "b", "safetensors")
    origin = f"owner/name at {commit}, safetensors, float32"
    assert metadata(tmp_path / "b" / "model.safetensors")["converted_from"] == origin
    assert f"Converted from {origin}: all values are unchanged." in card
    hostile = tmp_path / "models--a`b<script>--name" / "snapshots" / commit
    save(hostile, Head.LM)
    assert "script" not in convert(hostile, tmp_path / "c")


@pytest.mark.parametrize("form", WRITABLE)
def test_the_same_input_gives_the_same_bytes(tmp_path, form):
    """No time, no place."""
    head = Head.NONE if form == "openai" else Head.LM
    save(tmp_path / "a", head)
    for name in ("b", "c"):
        convert(tmp_path / "a", tmp_path / name, form)
    first, second = (content(tmp_path / name) for name in ("b", "c"))
    assert first == second
    assert not [name for name, data in first.items() if str(tmp_path).encode() in data]


@pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)
def test_the_hub_understands_a_card(tmp_path, head):
    save(tmp_path / "a", head)
    text = convert(tmp_path / "a", tmp_path / "b", dtype="float16")
    front = yaml.safe_load(text.split("---\n")[1])
    tags = {Head.LM: "text-generation", Head.SEQUENCE_CLASSIFICATION: "text-classification"}
    assert front == {
        "library_name": "gptcore",
        "tags": ["openai-gpt", "gpt", "msgpack"],
        **({"pipeline_tag": tags[head]} if head in tags else {}),
    }
    card = ModelCard(text)
    assert card.data.to_dict() == front
    for fact in (head.architecture, "msgpack, float16", "| layers, width, heads | 2, 10, 5 |", PRODUCER):
        assert fact in card.text
    assert re.search(
        r"Converted from safetensors, float32: [\d,]+ values were rounded, by at most \d\.\d\de-\d\d", text
    )


@pytest.mark.parametrize(("head", "task"), [(Head.LM, None), (Head.SEQUENCE_CLASSIFICATION, "entail")])
def test_the_tokenizers_example_runs(tmp_path, monkeypatch, capsys, head, task):
    save(tmp_path / "a", head)
    pieces = ["<unk>", "a</w>", *TASK_TOKENS]
    (tmp_path / "a" / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (tmp_path / "a" / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "a" / "tokenizer_config.json").write_text(json.dumps({"pre_tokenizer": "basic", "task": task}))
    blocks = re.findall(r"```python\n(.*?)```", convert(tmp_path / "a", tmp_path / "b"), re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path / "b")
    exec(compile(blocks[-1], "README.md", "exec"), {})
    assert capsys.readouterr().out == f"{[0] * 17}\n"  # each letter is unknown


def test_a_card_that_somebody_wrote_of_the_source_goes_along_beside_that_of_the_result(tmp_path):
    """It describes other files: their format and dtype, and how to load them."""
    save(tmp_path / "a", Head.LM)
    (tmp_path / "a" / "README.md").write_text("of the source")
    for source, folder in (("a", "b"), ("b", "c")):
        card = convert(tmp_path / source, tmp_path / folder)
        assert is_generated(card)
        assert "The card of the source, [README.source.md](README.source.md), may state" in card
        assert (tmp_path / folder / "README.source.md").read_text() == "of the source"
    (tmp_path / "c" / "README.md").write_text("of the next")
    convert(tmp_path / "c", tmp_path / "b")
    assert (tmp_path / "b" / "README.source.md").read_text() == "of the next"
    save(tmp_path / "plain", Head.LM)
    assert "The checkpoint does not state" in convert(tmp_path / "plain", tmp_path / "b")
    assert not (tmp_path / "b" / "README.source.md").exists()


def test_a_card_that_somebody_wrote_of_the_target_stays(tmp_path):
    save(tmp_path / "a", Head.LM)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "README.md").write_text("of the target")
    assert convert(tmp_path / "a", tmp_path / "b", "keras") == "of the target"


def test_the_bundled_model_is_named(tmp_path):
    card = convert(gptcore.DEFAULT_MODEL, tmp_path)
    assert (
        f"Converted from the model that comes with {PRODUCER}, safetensors, float16: all values are unchanged" in card
    )
    assert "| weights | msgpack, float16 |" in card
    assert "fairy tales" not in card


@pytest.mark.parametrize(
    ("labels", "row"),
    [
        ({"id2label": {0: "no", 1: "yes"}}, "| labels | 2: no, yes |"),
        (
            {"id2label": {0: "a | b", 1: "<script>`c`\n*d*"}},
            "| labels | 2: a &#124; b, &lt;script&gt;&#96;c&#96; &#42;d&#42; |",
        ),
        ({"num_labels": 21}, "LABEL_19, ... |"),
        ({"num_labels": 1, "problem_type": "regression"}, "| labels | none (the output is one score) |"),
    ],
)
def test_labels_are_named(labels, row):
    head = Head.SEQUENCE_CLASSIFICATION
    assert row in model_card(CONFIG.replace(**labels), head, form="safetensors", dtype="float32")


def test_the_examples_allow_pickles_only_if_the_weights_are_one():
    cards = {form: model_card(CONFIG, Head.LM, form=form, dtype="float32") for form in WRITABLE}
    assert [form for form, card in cards.items() if "allow_pickle=True" in card] == ["pytorch"]


def test_a_card_that_was_made_is_made_again(tmp_path):
    """It would describe other files than those beside it."""
    save(tmp_path / "a", Head.LM)
    first = convert(tmp_path / "a", tmp_path / "b")
    assert is_generated(first)
    second = convert(tmp_path / "b", tmp_path / "c", "keras")
    assert "| weights | hdf5, float32 |" in second
    assert "| weights | safetensors, float32 |" in convert(tmp_path / "c", tmp_path / "b", "safetensors")


@pytest.mark.parametrize(
    "change", [lambda t: t + "\n", lambda t: t.replace("\n", "\r\n"), lambda t: t[1:], lambda t: ""]
)
def test_any_change_makes_it_somebodys_own(change):
    text = relocated(model_card(CONFIG, Head.LM, form="safetensors", dtype="float32"), "owner/name")
    assert 'OpenAIGPTLMHeadModel.from_pretrained("owner/name")' in text
    assert is_generated(text)
    assert not is_generated(change(text))
