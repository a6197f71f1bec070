"""The commands about checkpoints: convert, inspect and verify --against."""

import json

from checkpoint_data import content, save

from gptcore.spec.parameters import Head


def test_convert_and_inspect(tmp_path, run):
    save(tmp_path / "a", Head.SEQUENCE_CLASSIFICATION)
    status, _, told = run(
        "convert", tmp_path / "a", tmp_path / "b", "--to", "pytorch", "--dtype", "bfloat16", "--quiet"
    )
    assert status == 0
    assert "values were rounded" in told
    status, _, told = run("inspect", tmp_path / "b")
    assert status == 2
    assert "--allow-pickle" in told
    status, out, _ = run("inspect", tmp_path / "b", "--allow-pickle", "--json")
    found = json.loads(out)
    assert (status, found["model"], found["problems"]) == (0, "OpenAIGPTForSequenceClassification", [])
    assert found["formats"] == ["pytorch"]
    assert found["loads"]["OpenAIGPTDoubleHeadsModel"]["fresh"]
    assert {tensor["dtype"] for tensor in found["tensors"]} == {"bfloat16"}
    status, out, _ = run("inspect", tmp_path / "b", "--allow-pickle")
    assert status == 0
    assert "OpenAIGPTForSequenceClassification" in out


def test_convert_replaces_files_only_with_force(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    target = tmp_path / "[" / "b]"  # a tag of Rich
    target.mkdir(parents=True)
    command = ("convert", tmp_path / "a", target, "--to", "flax")
    status, _, told = run(*command)
    written = "OpenAIGPTLMHeadModel, flax, float32; read back and verified"
    assert (status, told) == (0, f"{target}: {written}\n")
    before = content(target)
    status, _, told = run("convert", "nowhere", *command[2:])
    advice = "Add --force to write into it and replace files of the same names, or choose another folder."
    assert (status, told) == (2, f"error: {target} already holds files. {advice}\n")
    assert content(target) == before
    assert run(*command, "--force", "--dtype", "float16")[0] == 0
    assert content(target) != before
    status, out, _ = run("inspect", target)
    assert (status, out.startswith(f"{target}: flax_model.msgpack")) == (0, True)
    (tmp_path / "c").write_text("mine")
    for more in ((), ("--force",)):
        status, _, told = run("convert", tmp_path / "a", tmp_path / "c", "--to", "flax", *more)
        assert (status, "OUTPUT must be a folder; got the file" in told) == (2, True)
    assert (tmp_path / "c").read_text() == "mine"


def test_verify_compares_two_checkpoints(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    save(tmp_path / "b", Head.LM, form="flax")
    status, out, _ = run("verify", tmp_path / "a", "--against", tmp_path / "b")
    assert status == 0
    assert "26 of 26 tensors are equal" in out
    save(tmp_path / "b", Head.LM, "float16", form="flax")
    status, out, _ = run("verify", tmp_path / "a", "--against", tmp_path / "b")
    assert status == 1
    assert "tokens_embed.weight: differs by" in out


def test_inspect_lists_problems(tmp_path, run):
    save(tmp_path / "a", Head.LM)
    (tmp_path / "a" / "config.json").write_text('{"n_layer": 3}')
    status, out, _ = run("inspect", tmp_path / "a", "--json")
    assert status == 1
    assert "must have shape (40478, 768)" in json.loads(out)["problems"][0]
