"""A model and its config: one for the head and the trunk, and only such as fits the weights."""

import pytest

from gptcore import ConfigError, OpenAIGPTConfig
from gptcore.spec.parameters import Head

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1, num_labels=3)
IDS = [[3, 1, 4, 1, 5]]


@pytest.fixture
def make(backend, make_checkpoint):
    """A function (head) -> a model of the framework itself."""
    return lambda head: backend.load(make_checkpoint(CONFIG, head), head).model


def test_a_model_has_one_config(make, tmp_path):
    model = make(Head.SEQUENCE_CLASSIFICATION)
    config = model.config.replace(output_hidden_states=True, pad_token_id=0, id2label=dict(enumerate("xyz")))
    model.config = config
    assert model.config is model.trunk.config is config
    assert len(model(IDS).hidden_states) == 2
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config is again.trunk.config
    assert again.config.id2label == config.id2label
    model.resize_token_embeddings(47)
    assert model.config is model.trunk.config
    assert model.config.pad_token_id == 0


FITTING = {
    Head.NONE: ({"attn_pdrop": 0.0}, "attn_pdrop must stay 0.1; got 0.0"),
    Head.LM: ({"vocab_size": 47}, "resize_token_embeddings.*\n.*vocab_size must stay 41"),
    Head.DOUBLE_HEADS: ({"summary_type": "last"}, "summary_type must stay 'cls_index'"),
    Head.SEQUENCE_CLASSIFICATION: (
        {"num_labels": 2, "n_head": 7},
        "ignore_mismatched_sizes=True.*\n.*n_head must stay 2; got 7\n.*num_labels must stay 3; got 2",
    ),
}


@pytest.mark.parametrize("head", FITTING)
def test_settings_that_weights_and_layers_were_made_with(make, head):
    changes, message = FITTING[head]
    model = make(head)
    config = model.config
    with pytest.raises(ConfigError, match=message):
        model.config = config.replace(**changes)
    assert model.config is model.trunk.config is config


def test_settings_of_another_head_may_change(make):
    model = make(Head.LM)
    model.config = model.config.replace(num_labels=7, summary_type="mean")
    assert model.trunk.config.num_labels == 7
