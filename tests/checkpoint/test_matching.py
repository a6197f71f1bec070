"""Matching the tensors of a checkpoint with the parameters of a model: total, strict, all problems at once."""

import numpy as np
import pytest
from fresh_checkpoint import CONFIG, rewrite, save

from gptcore import CheckpointError
from gptcore.checkpoint import fresh_values, open_pretrained, save_pretrained
from gptcore.spec.parameters import Head, parameters


def test_all_problems_are_listed_at_once(folder):
    def spoil(tensors):
        del tensors["transformer.h.0.ln_1.bias"]
        tensors["transformer.h.1.ln_2.weight"] = np.ones(11, np.float32)
        tensors["transformer.h.2.ln_2.weight"] = np.ones(10, np.float32)
        tensors["transformer.h.1.mlp.c_fc.bias"] = np.ones(40, np.int32)

    rewrite(folder, spoil)
    with pytest.raises(CheckpointError) as caught:
        open_pretrained(folder, Head.LM)
    text = str(caught.value)
    assert "h.0.ln_1.bias (10,) is missing" in text
    assert "transformer.h.1.ln_2.weight must have shape (10,); got (11,)" in text
    assert "transformer.h.2.ln_2.weight (10,) is not a parameter of this model" in text
    assert "transformer.h.1.mlp.c_fc.bias must have one of the dtypes float64" in text


@pytest.mark.parametrize("stored", list(Head), ids=lambda head: head.value)
@pytest.mark.parametrize("wanted", list(Head), ids=lambda head: head.value)
def test_any_head_loads_into_any_other(tmp_path, stored, wanted):
    save(tmp_path, stored)
    source = open_pretrained(tmp_path, wanted)
    report = source.report()
    own, theirs = set(parameters(CONFIG, wanted)), set(parameters(CONFIG, stored))
    assert set(report["missing_keys"]) == own - theirs
    assert set(report["unexpected_keys"]) == theirs - own
    assert {name for name, _ in source.values()} == own


def test_another_number_of_labels_is_an_error_with_two_remedies(tmp_path, caplog):
    """The error says both ways out, and both work."""
    save(tmp_path, Head.SEQUENCE_CLASSIFICATION)
    with pytest.raises(CheckpointError) as caught:
        open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=4)
    assert str(caught.value).endswith(
        "score.weight must have shape (4, 10); got (2, 10). Pass the num_labels of the checkpoint, or "
        "ignore_mismatched_sizes=True for a fresh head."
    )
    assert open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=2).report()["missing_keys"] == []
    source = open_pretrained(tmp_path, Head.SEQUENCE_CLASSIFICATION, num_labels=4, ignore_mismatched_sizes=True)
    assert source.report() == {"missing_keys": ["score.weight"], "unexpected_keys": ["score.weight"]}
    assert dict(source.values())["score.weight"].shape == (4, 10)
    assert "score.weight is new and untrained, because the checkpoint lacks it in this shape. Train" in caplog.text
    open_pretrained(tmp_path, Head.DOUBLE_HEADS, ignore_mismatched_sizes=True)
    assert ".summary.bias are new and untrained, because the checkpoint lacks them. Train" in caplog.text


def test_only_a_head_may_have_another_size(folder):
    for head, changes in ((Head.LM, {"vocab_size": 30}), (Head.DOUBLE_HEADS, {"n_embd": 15})):
        with pytest.raises(CheckpointError, match=r"tokens_embed\.weight must have shape .*; got \(31, 10\)"):
            open_pretrained(folder, head, ignore_mismatched_sizes=True, **changes)
    save(folder, Head.DOUBLE_HEADS)
    with pytest.raises(CheckpointError, match=r"Pass the summary_proj_to_labels of the checkpoint, or"):
        open_pretrained(folder, Head.DOUBLE_HEADS, summary_proj_to_labels=False)
    source = open_pretrained(folder, Head.DOUBLE_HEADS, summary_proj_to_labels=False, ignore_mismatched_sizes=True)
    assert len(source.report()["missing_keys"]) == 2


@pytest.mark.parametrize(
    ("stored", "names", "message"),
    [
        (["no", "yes"], ["yes", "no"], "its labels are renamed: 'no' to 'yes', 'yes' to 'no'"),
        (["no", "yes"], ["no", "maybe"], "its labels are renamed: 'yes' to 'maybe'"),
        (["no", "yes"], ["no", "yes"], ""),
        (["LABEL_0", "LABEL_1"], ["no", "yes"], ""),
    ],
)
def test_renamed_labels_give_a_warning(tmp_path, caplog, stored, names, message):
    """As in transformers, the head stays; but nobody should find out from the predictions."""
    config = CONFIG.replace(id2label=dict(enumerate(stored)))
    head = Head.SEQUENCE_CLASSIFICATION
    save_pretrained(tmp_path, config, head, "float32", fresh_values(config, head, "float32", 0))
    source = open_pretrained(tmp_path, head, id2label=dict(enumerate(names)))
    assert source.config.id2label == dict(enumerate(names))
    assert message in caplog.text
    assert bool(caplog.text) == bool(message)


@pytest.mark.parametrize(
    ("stored", "labels", "message"),
    [
        (["no", "yes"], ["no", "yes"], ""),
        (
            ["no", "yes"],
            ["yes", "no"],
            "2 labels ('no', 'yes') is replaced by a new, untrained one for 2 labels ('yes'",
        ),
        (
            ["LABEL_0", "LABEL_1"],
            ["no", "yes"],
            "for 2 labels ('LABEL_0', 'LABEL_1') is replaced",
        ),
        (["no", "yes"], list("abcdefg"), "for 7 labels ('a', 'b', 'c', 'd', 'e', ...)"),
        (["no", "yes"], 1, "for 2 labels ('no', 'yes') is replaced by a new, untrained one for scores"),
        (["LABEL_0"], 1, ""),
    ],
)
def test_training_for_other_labels_begins_with_a_fresh_head(tmp_path, caplog, stored, labels, message):
    config, head = CONFIG.replace(id2label=dict(enumerate(stored))), Head.SEQUENCE_CLASSIFICATION
    if len(stored) == 1:
        config = config.replace(problem_type="regression")
    save_pretrained(tmp_path, config, head, "float32", fresh_values(config, head, "float32", 0))
    scores = {"num_labels": 1, "problem_type": "regression"}
    wanted = scores if labels == 1 else {"num_labels": len(labels), "id2label": dict(enumerate(labels))}
    source = open_pretrained(tmp_path, head, ignore_mismatched_labels=True, **wanted)
    assert source.report()["missing_keys"] == (["score.weight"] if message else [])
    assert len(dict(source.values())["score.weight"]) == (1 if labels == 1 else len(labels))
    assert message in caplog.text
    assert len(caplog.records) == bool(message)


def test_old_files_load(folder):
    """Mask buffers, no prefix, and the tied head stored twice or instead of the embedding."""

    def as_of_old(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 7, 7), np.float32))
        tensors["lm_head.weight"] = tensors["tokens_embed.weight"].copy()

    rewrite(folder, as_of_old)
    before = dict(fresh_values(CONFIG, Head.LM, "float32", 0))
    source = open_pretrained(folder, Head.LM)
    assert source.report()["unexpected_keys"] == ["h.0.attn.bias", "lm_head.weight"]
    rewrite(folder, lambda tensors: tensors.pop("tokens_embed.weight"))
    for name, array in open_pretrained(folder, Head.LM).values():
        np.testing.assert_array_equal(array, before[name])


def test_an_untied_head_is_refused(folder):
    rewrite(folder, lambda t: t.update({"lm_head.weight": t["transformer.tokens_embed.weight"] + 1}))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight must equal transformer\.tokens_embed\.weight"):
        open_pretrained(folder, Head.LM)


def test_the_same_parameter_twice_is_refused(folder):
    rewrite(folder, lambda t: t.update({"h.0.ln_1.bias": t["transformer.h.0.ln_1.bias"]}))
    with pytest.raises(CheckpointError, match="are the same parameter"):
        open_pretrained(folder, Head.LM)
