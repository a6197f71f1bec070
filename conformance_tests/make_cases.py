"""Make the case folders from the float64 reference.

Run as ``python conformance_tests/make_cases.py``; the same numbers come out every time.
"""

import shutil

import numpy as np
from kinks import keep_off_kinks
from ladder import CASES, Case, expectation
from trained_scale import trained_scale

from gptcore.checkpoint import save_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

# Distinct sizes, prime where they can be: a swapped axis cannot fit.
SIZES = {"vocab_size": 53, "n_positions": 19, "n_embd": 15, "n_head": 3, "n_layer": 2}

RAGGED = np.array(
    [
        [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],  # left padding
        [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],  # right padding
        [0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0],  # holes
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # nothing at all
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ]
)


def ids(stream, *shape):
    """Token ids with both ends of the vocabulary among them."""
    values = stream.integers(0, SIZES["vocab_size"], shape)
    values.flat[0], values.flat[-1] = SIZES["vocab_size"] - 1, 0
    return values


def masked(labels, mask):
    """Labels with -100 where the mask is 0."""
    return np.where(mask == 1, labels, -100)


def cases(stream):
    """Yield (name, head, settings, inputs)."""
    x = ids(stream, 5, 11)
    yield (
        "model_types_and_positions",
        Head.NONE,
        {},
        {
            "input_ids": x,
            "token_type_ids": ids(stream, 5, 11),
            "position_ids": stream.permutation(19)[None, :11],
        },
    )
    yield "model_ragged", Head.NONE, {}, {"input_ids": x, "attention_mask": RAGGED}
    yield "model_one_token", Head.NONE, {"n_layer": 1}, {"input_ids": ids(stream, 2, 1)}
    yield (
        "model_full_length",
        Head.NONE,
        {"layer_norm_epsilon": 1e-3},
        {
            "input_ids": ids(stream, 2, 19),
            "head_mask": stream.random((2, 3)),
        },
    )
    yield "lm_gelu", Head.LM, {}, {"input_ids": x, "labels": x}
    yield (
        "lm_relu_ragged",
        Head.LM,
        {"afn": "relu"},
        {
            "input_ids": x,
            "attention_mask": RAGGED,
            "labels": masked(x, RAGGED),
        },
    )
    yield (
        "lm_silu_embeds",
        Head.LM,
        {"afn": "silu"},
        {
            "inputs_embeds": stream.standard_normal((2, 7, 15)).astype(np.float32),
            "labels": ids(stream, 2, 7),
            "head_mask": np.array([1.0, 0.0, 0.5]),
        },
    )
    yield "lm_all_ignored", Head.LM, {"n_layer": 1}, {"input_ids": x, "labels": np.full_like(x, -100)}
    choices = {
        "input_ids": ids(stream, 2, 3, 7),
        "labels": ids(stream, 2, 3, 7),
        "mc_labels": np.array([2, 0]),
    }
    mask = np.ones((2, 3, 7), np.int64)
    mask[0, 1, 4:] = 0
    yield (
        "double_heads_cls_index",
        Head.DOUBLE_HEADS,
        {},
        {
            **choices,
            "mc_token_ids": stream.integers(0, 7, (2, 3)),
            "attention_mask": mask,
        },
    )
    summaries = {
        "mean_tanh": {"summary_type": "mean", "summary_activation": "tanh"},
        "first_gelu_new": {"summary_type": "first", "summary_activation": "gelu_new"},
        "last_silu_to_hidden": {
            "summary_type": "last",
            "summary_activation": "silu",
            "summary_proj_to_labels": False,
        },
        "default_no_projection": {"summary_use_proj": False, "summary_activation": "relu"},
    }
    for name, settings in summaries.items():
        wide = settings.get("summary_use_proj") is False or settings.get("summary_proj_to_labels") is False
        mc_labels = stream.integers(0, 15, (2, 3)) if wide else choices["mc_labels"]
        yield f"double_heads_{name}", Head.DOUBLE_HEADS, {"n_layer": 1, **settings}, {**choices, "mc_labels": mc_labels}
    classify = Head.SEQUENCE_CLASSIFICATION
    yield (
        "classification_single_label",
        classify,
        {"num_labels": 5, "pad_token_id": 52},
        {
            "input_ids": np.where(RAGGED == 1, x, 52),
            "labels": np.array([4, 0, -100, 2, 1]),
        },
    )
    yield (
        "classification_multi_label",
        classify,
        {"num_labels": 4},
        {
            "input_ids": x,
            "attention_mask": RAGGED,
            "labels": stream.integers(0, 2, (5, 4)).astype(np.float32),
        },
    )
    yield (
        "classification_regression",
        classify,
        {"num_labels": 1, "n_layer": 1},
        {
            "input_ids": x,
            "labels": stream.standard_normal(5).astype(np.float32),
        },
    )
    yield (
        "classification_regression_many",
        classify,
        {
            "num_labels": 2,
            "n_layer": 1,
            "problem_type": "regression",
        },
        {"input_ids": x, "labels": stream.standard_normal((5, 2)).astype(np.float32)},
    )


def weights(config, head, number, inputs):
    """At trained scale, but on the curve of a tanh and off the kink of a ReLU: see ``gptcore.spec.tolerances``."""
    arrays = dict(trained_scale(config, head, number))
    if config.summary_activation == "tanh":
        for name in arrays:
            if name.startswith("multiple_choice_head"):
                arrays[name] /= np.float32(4)
    keep_off_kinks(config, head, arrays, inputs)
    return arrays


def main():
    shutil.rmtree(CASES, ignore_errors=True)
    for number, (name, head, settings, inputs) in enumerate(cases(np.random.default_rng(7))):
        config = OpenAIGPTConfig(**{**SIZES, **settings})
        folder = CASES / name
        save_pretrained(folder, config, head, "float32", weights(config, head, number, inputs).items())
        np.savez_compressed(folder / "inputs.npz", **inputs)
        expected = expectation(Case(folder).reference("float32"), head, inputs)
        np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
