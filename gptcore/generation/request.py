"""One call of ``generate``: resolve the settings, check the prompt, decode. The same for every framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gptcore.errors import InputError, warn_once
from gptcore.generation.config import GenerationConfig
from gptcore.generation.device import host_settings
from gptcore.generation.host.decoding import GenerateOutput, decode
from gptcore.generation.host.search import NOTHING, check_selected
from gptcore.generation.host.stepper import DeviceStepper, Uncached
from gptcore.generation.prompt import check_prompt
from gptcore.spec.config import OpenAIGPTConfig


def settled(
    model: OpenAIGPTConfig, generation_config: GenerationConfig | None, settings: Mapping[str, Any]
) -> GenerationConfig:
    """Resolve the settings of a call: those of ``generation_config`` or the model's defaults, overridden by keywords.

    Raises:
        InputError: ``generation_config`` has another type, such as a dict.
        ConfigError: Settings are invalid or contradict each other.
    """
    check_generation_config(generation_config)
    default = generation_config or GenerationConfig(eos_token_id=model.eos_token_id, pad_token_id=model.pad_token_id)
    config = default.replace(**settings) if settings else default
    for warning in without_effect(config, settings):
        warn_once(warning)
    return config


def check_generation_config(value: Any) -> None:
    """Raise an ``InputError`` for anything but a ``GenerationConfig`` or ``None``."""
    if not isinstance(value, GenerationConfig | None):
        raise InputError(
            f"generation_config must be a gptcore.generation.GenerationConfig; got {type(value).__name__}. "
            "Pass its settings by keyword: generate(input_ids, max_new_tokens=8)."
        )


def without_effect(config: GenerationConfig, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning for each keyword that has no effect because of another setting, as transformers does."""
    default = GenerationConfig()
    for needed, on, names in (
        ("do_sample=True", config.do_sample, ("temperature", "top_p", "min_p", "typical_p")),
        ("do_sample=True", config.do_sample or config.penalty_alpha is not None, ("top_k",)),
        ("num_beams above 1", config.num_beams > 1, ("length_penalty", "early_stopping")),
        ("return_dict_in_generate=True", config.return_dict_in_generate, ("output_scores",)),
        ("num_beams=1", config.num_beams == 1 or not config.return_dict_in_generate, ("output_scores",)),
    ):
        for name in names:
            if not on and name in settings and getattr(config, name) != getattr(default, name):
                yield f"{name}={getattr(config, name)!r} has no effect. Pass {needed} as well."


def generate(
    stepper: DeviceStepper,
    model: OpenAIGPTConfig,
    input_ids: Any,
    attention_mask: Any,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
) -> tuple[GenerationConfig, GenerateOutput]:
    """Run ``generate`` on NumPy arrays; the models convert to and from them.

    Returns:
        The resolved settings and the output.
    """
    config = settled(model, generation_config, settings)
    prompt = check_prompt(model, config, input_ids, attention_mask)
    if config.stops and tokenizer is None:
        raise InputError("stop_strings need a tokenizer. Pass tokenizer=... as well.")
    if streamer is not None and (config.num_beams > 1 or len(prompt.input_ids) * config.num_return_sequences > 1):
        raise InputError("a streamer supports one text only. Pass one row, num_beams=1 and num_return_sequences=1.")
    if streamer is None and not host_settings(config):
        prompt = prompt.repeated(config.num_return_sequences)
        new = stepper.continued(config, prompt)
        check_selected(new != NOTHING)
        return config, GenerateOutput(sequences=np.concatenate([prompt.input_ids, new], axis=1))
    if streamer is not None:
        streamer.put(prompt.input_ids)
    output = decode(
        stepper if config.use_cache else Uncached(stepper),
        model,
        config,
        prompt,
        on_tokens=None if streamer is None else streamer.put,
        decode_text=None if tokenizer is None else tokenizer.decode,
    )
    if streamer is not None:
        streamer.end()
    return config, output
