"""The oracle itself: its gradients by finite differences, its properties, and its errors."""

import math

import numpy as np
import pytest
from trained_scale import trained_scale

from gptcore.errors import CheckpointError, InputError
from gptcore.spec.autodiff import Variable
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, parameters
from gptcore.spec.reference import Reference, gelu, relu, silu, tanh

CONFIG = OpenAIGPTConfig(vocab_size=23, n_positions=11, n_embd=10, n_layer=2, n_head=2, num_labels=3)
STREAM = np.random.default_rng(3)
IDS = STREAM.integers(0, 23, (2, 7))
MASK = np.array([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]])
CHOICES = {"input_ids": IDS[None], "labels": IDS[None], "mc_token_ids": np.array([[6, 4]]), "mc_labels": np.array([1])}
LOSSES = {
    "lm": (Head.LM, {}, {"input_ids": IDS, "labels": IDS, "attention_mask": MASK, "token_type_ids": IDS[::-1]}),
    "lm relu, embeds": (
        Head.LM,
        {"afn": "relu"},
        {"inputs_embeds": STREAM.standard_normal((2, 7, 10)), "labels": IDS, "head_mask": np.array([0.5, 1.5])},
    ),
    "lm silu": (Head.LM, {"afn": "silu"}, {"input_ids": IDS, "labels": IDS, "position_ids": IDS[0] % 11}),
    "choices": (Head.DOUBLE_HEADS, {"summary_activation": "gelu_new"}, CHOICES),
    "choices, mean": (Head.DOUBLE_HEADS, {"summary_type": "mean", "summary_activation": "tanh"}, CHOICES),
    "classes": (Head.SEQUENCE_CLASSIFICATION, {}, {"input_ids": IDS, "labels": np.array([2, -100])}),
    "tags": (
        Head.SEQUENCE_CLASSIFICATION,
        {},
        {"input_ids": IDS, "attention_mask": MASK, "labels": np.eye(3, dtype=np.float32)[:2]},
    ),
    "regression": (
        Head.SEQUENCE_CLASSIFICATION,
        {"problem_type": "regression"},
        {"input_ids": IDS, "labels": STREAM.standard_normal((2, 3))},
    ),
}


def reference(head, seed=0, **settings):
    config = CONFIG.replace(**settings)
    return Reference(
        config, {name: array.astype(np.float64) for name, array in trained_scale(config, head, seed)}, head
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    """Every parameter along a random direction, central differences of the fourth order."""
    head, settings, inputs = LOSSES[name]
    model = reference(head, **settings)
    gradients = model.loss_and_gradients(inputs)[1]
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for weight_name, weight in model.weights.items():
        direction = np.random.default_rng(1).standard_normal(weight.shape)
        value, step = weight.value, 1e-4
        at = {}
        for k in (-2, -1, 1, 2):
            weight.value = value + k * step * direction
            at[k] = sum(model.loss_and_gradients(inputs)[0].values())
        weight.value = value
        slope = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
        size = largest * math.sqrt(direction.size)
        assert abs((gradients[weight_name] * direction).sum() - slope) < 1e-8 * size, weight_name


def test_activations_at_known_points():
    """Digits from the closed forms, evaluated with 30 digits."""
    exact = {"rtol": 1e-13, "atol": 0}
    x = Variable(np.array([-2.7, 0.5, 3.0]))
    np.testing.assert_allclose(gelu(x).value, [-0.008887594639467905, 0.34571400982514392, 2.996362607918227], **exact)
    np.testing.assert_allclose(silu(x).value, [-0.17002806135389052, 0.31122966560092728, 2.8577223804672997], **exact)
    np.testing.assert_allclose(relu(x).value, [0, 0.5, 3])
    np.testing.assert_allclose(tanh(x).value, [math.tanh(-2.7), math.tanh(0.5), math.tanh(3)], **exact)


def test_the_future_does_not_reach_the_past():
    model = reference(Head.LM)
    changed = IDS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % 23
    before, after = (model.forward({"input_ids": ids})["logits"] for ids in (IDS, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


def test_padding_on_either_side_is_as_if_it_were_not_there():
    model = reference(Head.LM)
    padded = model.forward({"input_ids": IDS, "attention_mask": MASK})["logits"]
    for row, kept in enumerate(MASK.astype(bool)):
        alone = model.forward({"input_ids": IDS[row, kept][None]})["logits"][0]
        np.testing.assert_allclose(padded[row, kept], alone, atol=1e-13)


def test_attention_is_a_distribution_over_what_is_allowed():
    fields = reference(Head.NONE).forward({"input_ids": IDS, "attention_mask": MASK}, output_attentions=True)
    for attention in fields["attentions"]:
        np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-14)
        assert (np.triu(attention, 1) == 0).all()
        real = MASK.astype(bool)
        assert (attention[0][:, real[0]][..., ~real[0]] == 0).all()


def test_labels_that_are_all_ignored_give_zero():
    losses, gradients = reference(Head.LM).loss_and_gradients({"input_ids": IDS, "labels": np.full_like(IDS, -100)})
    assert losses == {"loss": 0}
    assert all((gradient == 0).all() for gradient in gradients.values())


def test_weights_that_do_not_fit_are_all_named_at_once():
    weights = dict(trained_scale(CONFIG, Head.LM))
    del weights["h.0.ln_1.bias"]
    weights["h.1.attn.c_proj.weight"] = weights["h.1.attn.c_proj.weight"][:5]
    weights["h.1.ln_2.bias"] = np.zeros(10, np.uint16)
    weights["h.2.ln_2.bias"] = np.zeros(10, np.float32)
    with pytest.raises(CheckpointError) as caught:
        Reference(CONFIG, weights, Head.LM)
    for sentence in (
        "h.0.ln_1.bias is missing",
        "h.1.attn.c_proj.weight must have shape (10, 10); got (5, 10)",
        "h.1.ln_2.bias must have a floating-point dtype; got uint16",
        "h.2.ln_2.bias is not a parameter of OpenAIGPTLMHeadModel",
    ):
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (Head.NONE, "cannot compute a loss: OpenAIGPTModel has no head. Use a model with a head."),
        (Head.LM, "cannot compute a loss without labels. Pass labels."),
        (Head.DOUBLE_HEADS, "cannot compute a loss without labels. Pass labels or mc_labels."),
    ],
)
def test_a_loss_needs_labels(head, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        reference(head).loss_and_gradients({"input_ids": IDS})


def test_every_parameter_is_used():
    """A weight whose gradient is zero everywhere would be one that the forward pass forgot."""
    for head in (Head.LM, Head.DOUBLE_HEADS, Head.SEQUENCE_CLASSIFICATION):
        _, settings, inputs = next(case for case in LOSSES.values() if case[0] is head)
        gradients = reference(head, **settings).loss_and_gradients(inputs)[1]
        assert gradients.keys() == parameters(CONFIG, head).keys()
        assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())
