"""Settings for generation that runs entirely on the device.

Greedy search and sampling with the usual filters run as a single program in each framework (its ``sampling.py``).
Settings that need earlier tokens, text or several hypotheses run on the host, over a ``Stepper``.
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
    """The settings that a program is compiled for.

    Attributes:
        do_sample: Whether to sample; if not, the other settings have no effect.
        top_k: Number of most likely tokens to sample from; 0 for all.
        top_p, min_p: Whether these filters are on.
    """

    do_sample: bool
    top_k: int
    top_p: bool
    min_p: bool


class Numbers(NamedTuple):
    """The arguments of a program.

    Attributes:
        seed, temperature, min_p: As in ``GenerationConfig``; 0 for a filter that is off.
        tail: ``1 - top_p``.
        min_new_tokens: Minimum number of new tokens before the text may end.
        max_new_tokens: Maximum number of new tokens.
        eos_token_ids: All ids that end a text.
        fill_token_id: The id that fills a row after its end.
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
    """The settings that require the loop to run on the host, if any."""
    default = GenerationConfig()
    return [name for name in HOST_SETTINGS if getattr(config, name) != getattr(default, name)]


def program(config: GenerationConfig, prompt_length: int, max_new_tokens: int) -> tuple[Method, Numbers]:
    """The program to compile and its arguments, for a prompt of ``prompt_length`` columns."""
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
    """Check that ``generate`` can be traced into the user's program.

    Args:
        model: The config of the model.
        config: The settings of the call.
        shape: The shape of ``input_ids``.
        inside: The function that compiles the program, such as ``jax.jit``.
        streamer: The streamer of the call.

    Returns:
        The number of new tokens.

    Raises:
        InputError: The settings need the host, the shape is unknown, or the prompt leaves no room.
    """
    names = host_settings(config) + (["return_dict_in_generate"] if config.return_dict_in_generate else [])
    names += [] if streamer is None else ["streamer"]
    if names:
        raise InputError(
            f"cannot use {', '.join(names)} inside {inside}: this runs on the host. Omit {', '.join(names)}, or call "
            f"generate outside of {inside}."
        )
    if len(shape) != 2 or not all(shape):
        raise InputError(
            f"input_ids must have a known, non-empty shape (batch, sequence) inside {inside}; got {shape}."
        )
    return check_room(model, config, shape[1] or 0)
