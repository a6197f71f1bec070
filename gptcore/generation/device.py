"""What a loop that never leaves the device needs to know: for which settings there is one, and their numbers.

Greedy search and sampling with the usual filters run as one program in each framework, with its ``sampling.py``; what
looks at the tokens so far, at text or at several hypotheses runs on the host, over a ``Stepper``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.generation.prompt import check_room
from gptcore.spec.config import OpenAIGPTConfig

HOST_SETTINGS = (
    "num_beams",
    "penalty_alpha",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "typical_p",
    "stop_strings",
    "output_scores",
    "use_cache",
    "context",
)


class Method(NamedTuple):
    """What a program is compiled for.

    Attributes:
        do_sample: draw tokens; otherwise the rest is unused.
        top_k: 0 is off.
        top_p, min_p: whether these filters are on.
    """

    do_sample: bool
    top_k: int
    top_p: bool
    min_p: bool


class Numbers(NamedTuple):
    """What a program takes as arguments.

    Attributes:
        seed, temperature, min_p: as in ``GenerationConfig``; 0 for a filter that is off.
        tail: ``1 - top_p``.
        min_new_tokens: how many tokens come before the end of text may.
        max_new_tokens: how many come at the most.
        eos_token_ids: all that end a text.
        fill_token_id: what stands behind the end.
    """

    seed: np.uint32
    temperature: np.float32
    tail: np.float32
    min_p: np.float32
    min_new_tokens: int
    max_new_tokens: int
    eos_token_ids: tuple[int, ...]
    fill_token_id: int


def host_settings(config: GenerationConfig) -> list[str]:
    """The settings, if any, because of which the loop runs on the host."""
    default = GenerationConfig()
    return [name for name in HOST_SETTINGS if getattr(config, name) != getattr(default, name)]


def program(config: GenerationConfig, prompt_length: int, max_new_tokens: int) -> tuple[Method, Numbers]:
    """What to compile and with what to call it, for a prompt of that many columns."""
    method = Method(False, 0, top_p=False, min_p=False)
    if config.do_sample:
        method = Method(True, config.top_k, top_p=config.top_p < 1, min_p=config.min_p is not None)
    numbers = Numbers(
        seed=np.uint32(config.seed),
        temperature=np.float32(config.temperature),
        tail=np.float32(1 - config.top_p),
        min_p=np.float32(config.min_p or 0),
        min_new_tokens=max(config.min_new_tokens or 0, config.min_length - prompt_length),
        max_new_tokens=max_new_tokens,
        eos_token_ids=config.eos_token_ids,
        fill_token_id=config.fill_token_id,
    )
    return method, numbers


def check_traced(
    model: OpenAIGPTConfig, config: GenerationConfig, shape: tuple[int | None, ...], inside: str, streamer: Any = None
) -> int:
    """See that the loop can become part of a program of the user's.

    Args:
        model, config: of the call.
        shape: of ``input_ids``.
        inside: what compiles that program, such as ``jax.jit``.
        streamer: of the call.

    Returns:
        how many tokens follow.

    Raises:
        InputError: the settings need the host, the shape is not known, or there is no room.
    """
    names = host_settings(config) + (["return_dict_in_generate"] if config.return_dict_in_generate else [])
    names += [] if streamer is None else ["streamer"]
    if names:
        raise InputError(
            f"inside {inside}, generate runs on the device alone, but {', '.join(names)} need the host; leave them at "
            f"their defaults, or call generate outside"
        )
    if len(shape) != 2 or not all(shape):
        raise InputError(f"input_ids has shape {shape}; inside {inside} expected a known (batch, sequence), none empty")
    return check_room(model, config, shape[1] or 0)
