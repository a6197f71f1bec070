"""One call of ``generate``: settle the settings, check the prompt, decode. The same for every framework."""

from __future__ import annotations

from typing import Any

import numpy as np

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.generation.decoding import GenerateOutput, decode
from gptcore.generation.device import host_settings
from gptcore.generation.prompt import check_prompt
from gptcore.generation.search import NOTHING, check_chosen
from gptcore.generation.stepper import DeviceStepper, Uncached


def settled(
    model: OpenAIGPTConfig, generation_config: GenerationConfig | None, settings: dict[str, Any]
) -> GenerationConfig:
    """The settings of a call: those of the config, or of the model, changed by keywords."""
    default = generation_config or GenerationConfig(eos_token_id=model.eos_token_id, pad_token_id=model.pad_token_id)
    return default.replace(**settings) if settings else default


def generate(
    stepper: DeviceStepper,
    model: OpenAIGPTConfig,
    input_ids: Any,
    attention_mask: Any,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: dict[str, Any],
) -> tuple[GenerationConfig, GenerateOutput]:
    """What ``generate`` of a model does behind its conversions to and from NumPy.

    Returns:
        the settled config, and the output.
    """
    config = settled(model, generation_config, settings)
    prompt = check_prompt(model, config, input_ids, attention_mask)
    if config.stops and tokenizer is None:
        raise InputError("stop_strings need the text of the ids: pass tokenizer=... as well")
    if streamer is not None and (config.num_beams > 1 or len(prompt.input_ids) * config.num_return_sequences > 1):
        raise InputError("a streamer takes one text: pass one row, num_beams=1 and num_return_sequences=1")
    if streamer is None and not host_settings(config):
        prompt = prompt.repeated(config.num_return_sequences)
        new = stepper.continued(config, prompt)
        check_chosen(new != NOTHING)
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
