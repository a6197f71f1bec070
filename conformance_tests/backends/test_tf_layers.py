"""The layers of a model: dropout in training only, and where the paper has it."""

import numpy as np
from tf_models import CONFIG, IDS, build, every_model, inputs_of, same_dropout_in_each_run  # noqa: F401

import gpt_tf


def test_dropout_only_in_training(model):
    inputs = {"input_ids": inputs_of(model)["input_ids"], "return_dict": True}
    np.testing.assert_array_equal(model(inputs).logits, model(inputs, training=False).logits)
    assert np.abs(model(inputs, training=True).logits - model(inputs, training=True).logits).max() > 0


def test_each_dropout_is_where_the_paper_has_it():
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        model = build(gpt_tf.TFOpenAIGPTModel, CONFIG.replace(**{**off, name: 0.5}))
        output = model(IDS, output_hidden_states=True, training=True)
        zeros = np.mean(output.hidden_states[0] == 0)
        assert (zeros > 0.3) == (name == "embd_pdrop")
        assert np.abs(output[0] - model(IDS, training=True)[0]).max() > 0
