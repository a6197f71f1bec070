"""Generation as one graph, also inside a graph of the user."""

import numpy as np
import pytest
import tensorflow as tf
from tf_models import IDS, build, same_dropout_in_each_run  # noqa: F401

import gpt_tf
from gpt_tf.generation import programs_of
from gptcore import InputError


def traces(model, name):
    """How often the graphs of this name were traced."""
    functions = programs_of(model).functions.items()
    return sum(graph.experimental_get_tracing_count() for (body, *_), graph in functions if body.__name__ == name)


def test_trying_settings_gives_no_warning(caplog):
    """TensorFlow warns of a ``tf.function`` whose calls are mostly traces."""
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    for rows in range(1, 7):
        model.generate(np.repeat(IDS[:1, :2], rows, axis=0), max_new_tokens=1, num_beams=2)
    assert traces(model, "read") >= 6
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_generation_traces_once_a_bucket_and_follows_a_resize():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    for name, settings, programs in (("loop", {}, 1), ("read", {"num_beams": 2}, 2)):  # the latter for prompt and step
        for length, seed in ((2, 0), (3, 1), (5, 2)):
            model.generate(IDS[:, :length], max_new_tokens=length + 1, seed=seed, **settings)
        assert traces(model, name) == programs
    model.resize_token_embeddings(10)
    ids = model.generate(IDS, max_new_tokens=4)
    assert ids.numpy().max() < 10
    np.testing.assert_array_equal(ids[:, 5], model(IDS).logits.numpy()[:, -1].argmax(-1))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_k": 5, "num_return_sequences": 2}])
def test_generation_inside_a_graph_of_the_user(settings, jit_compile):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    mask = tf.constant([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    eos = int(model.generate(IDS, max_new_tokens=4)[0, 6])
    prompt = np.where(mask, IDS, 1)
    mask = None if settings else mask  # by the padding
    settings = {"max_new_tokens": 4, "eos_token_id": eos, "pad_token_id": 1, **settings}

    @tf.function(jit_compile=jit_compile)
    def doubled(ids, mask):
        return model.generate(ids, mask, **settings) * 2

    ids = doubled(prompt, mask).numpy() // 2
    assert ids.shape == (2 * settings.get("num_return_sequences", 1), 9)
    outside = model.generate(prompt, mask, **settings).numpy()
    np.testing.assert_array_equal(ids[:, : outside.shape[1]], outside)
    assert (ids[:, outside.shape[1] :] == 1).all()


@pytest.mark.parametrize("settings", [{"num_beams": 2}, {"return_dict_in_generate": True}, {"stop_strings": "."}])
def test_what_needs_the_host_is_an_error_inside_a_graph(settings):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    name = next(iter(settings))
    with pytest.raises(InputError, match=f"cannot use {name} inside tf.function: this runs on the host"):
        tf.function(lambda ids: model.generate(ids, **settings), autograph=False)(IDS)
    with pytest.raises(InputError, match=r"cannot use streamer inside tf.function"):
        tf.function(lambda ids: model.generate(ids, streamer=print), autograph=False)(IDS)
    with pytest.raises(InputError, match="input_ids must have an integer dtype; got float32"):
        tf.function(lambda ids: model.generate(ids, max_new_tokens=2), autograph=False)(IDS.astype("float32"))


def test_generation_inside_a_graph_needs_known_shapes():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    signature = [tf.TensorSpec((None, 5), tf.int64)]
    generate = tf.function(lambda ids: model.generate(ids, max_new_tokens=3), signature, autograph=False)
    with pytest.raises(InputError, match=r"known, non-empty shape .* inside tf.function; got \(None, 5\)"):
        generate(IDS)
