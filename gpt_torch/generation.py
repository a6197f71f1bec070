"""Generation: how ``gptcore.generation`` runs these models, with a KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_torch.cache import KVCache
from gpt_torch.modeling import take_position
from gpt_torch.pretrained import without_dropout
from gpt_torch.sampling import choose
from gpt_torch.weights import TensorLike
from gptcore import generation
from gptcore.generation import GenerateOutput, GenerationConfig, Prompt
from gptcore.generation.device import Method, Numbers, program
from gptcore.generation.host.stepper import Logits
from gptcore.generation.prompt import Ids

if TYPE_CHECKING:
    from gpt_torch.heads import OpenAIGPTLMHeadModel

Mask = NDArray[np.bool_]
State = tuple[KVCache, torch.Tensor]  # the cache, and the hidden states of the last call


class Stepper:
    """Runs a language model one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model: OpenAIGPTLMHeadModel) -> None:
        self.model = model

    @torch.inference_mode()
    def start(self, input_ids: Ids, attention_mask: Mask, capacity: int) -> tuple[Logits, State]:
        model = self.model
        cache = KVCache.empty(model.config, len(input_ids), capacity, dtype=model.dtype, device=model.device)
        logits, cache, hidden_states = read(model, cache, *self.tensors(input_ids, attention_mask))
        return logits.cpu().numpy(), (cache, hidden_states)

    @torch.inference_mode()
    def step(self, tokens: Ids, state: State) -> tuple[Logits, State]:
        cache, _ = state
        ids = torch.from_numpy(tokens).to(self.model.device)[:, None]
        logits, cache, hidden_states = read(self.model, cache, ids)
        return logits.cpu().numpy(), (cache, hidden_states)

    def hidden_states(self, state: State) -> NDArray[np.float32]:
        return state[1].float().cpu().numpy()

    def reordered(self, state: State, rows: Ids) -> State:
        cache, hidden_states = state
        rows = torch.from_numpy(rows).to(self.model.device)
        return cache.reordered(rows), hidden_states[rows]

    @torch.inference_mode()
    def continued(self, config: GenerationConfig, prompt: Prompt) -> Ids:
        method, numbers = program(config, prompt.length, prompt.max_new_tokens)
        tensors = self.tensors(prompt.input_ids, prompt.attention_mask)
        return loop(self.model, *tensors, method, numbers, config.num_return_sequences).cpu().numpy()

    def tensors(self, input_ids: Ids, attention_mask: Mask) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Ids; mask, or ``None`` without padding; and the position of the last token of each row, (B,)."""
        last = input_ids.shape[1] - 1 - attention_mask[:, ::-1].argmax(-1)
        ids, mask, last = (torch.from_numpy(x).to(self.model.device) for x in (input_ids, attention_mask, last))
        return ids, None if attention_mask.all() else mask, last


def read(
    model: OpenAIGPTLMHeadModel,
    cache: KVCache,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    last: torch.Tensor | None = None,
) -> tuple[torch.Tensor, KVCache, torch.Tensor]:
    """The logits (B, V) of the token after position ``last`` (B,), the new cache, and the hidden states (B, T, C).

    ``input_ids`` are (B, T).
    """
    if is_overridden(model):
        options = {"output_hidden_states": True, "return_dict": True, "past_key_values": cache}
        output = model(input_ids, attention_mask, **options)
        last = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device) if last is None else last
        return take_position(output.logits, last).float(), output.past_key_values, output.hidden_states[-1]
    output = model.transformer(input_ids, attention_mask, return_dict=True, past_key_values=cache)
    hidden_states = output.last_hidden_state
    taken = hidden_states[:, 0] if last is None else take_position(hidden_states, last)  # (B, C)
    logits = model.lm_head(taken, model.transformer.tokens_embed)
    return logits.float(), output.past_key_values, hidden_states


def is_overridden(model: OpenAIGPTLMHeadModel) -> bool:
    """Whether a call of the model does more than its trunk and head."""
    patched = "forward" in vars(model) or type(model).forward is not type(model)._own_forward
    return patched or bool(model._forward_hooks or model._forward_pre_hooks)


def loop(
    model: OpenAIGPTLMHeadModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    last: torch.Tensor,
    method: Method,
    numbers: Numbers,
    returned: int,
) -> torch.Tensor:
    """Continue prompts without leaving the device.

    Args:
        model: The language model.
        input_ids, attention_mask: (B, T), the prompts; the mask is ``None`` without padding.
        last: (B,), position of the last token of each row.
        method, numbers: The two parts of the settings, from ``gptcore.generation.device.program``.
        returned: Number of consecutive rows that continue the same prompt.

    Returns:
        The new ids, (B, N).
    """
    (batch, length), new, fill = input_ids.shape, numbers.max_new_tokens, numbers.fill_token_id
    rows = torch.arange(batch, device=input_ids.device) % returned
    ends = torch.tensor(numbers.eos_token_ids, device=input_ids.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    ids = input_ids.new_full((batch, new), fill)
    cache = KVCache.empty(model.config, batch, length + new, dtype=model.dtype, device=model.device)
    logits, cache, _ = read(model, cache, input_ids, attention_mask, last)
    for column in range(new):
        if column:
            logits, cache, _ = read(model, cache, ids[:, column - 1 : column].clamp(min=0))
        tokens = choose(logits, method, numbers, rows, column).where(running, fill)
        ids[:, column] = tokens
        if numbers.eos_token_ids:  # without end tokens, skip this check, for which the host would wait
            running &= ~torch.isin(tokens, ends)
            if not running.any():
                return ids[:, : column + 1]
    return ids


def generate(
    model: OpenAIGPTLMHeadModel,
    input_ids: TensorLike,
    attention_mask: TensorLike | None,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
) -> torch.Tensor | GenerateOutput:
    """``OpenAIGPTLMHeadModel.generate``."""
    ids, mask = (x.cpu().numpy() if isinstance(x, torch.Tensor) else x for x in (input_ids, attention_mask))
    generation_config = generation_config or model._generation_config
    with without_dropout(model):
        config, output = generation.generate(
            Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
        )
    sequences = torch.from_numpy(output.sequences).to(model.device)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(torch.from_numpy(np.asarray(s)) for s in output.scores)
    totals = None if output.sequences_scores is None else torch.from_numpy(output.sequences_scores)
    return generation.GenerateOutput(sequences=sequences, scores=scores, sequences_scores=totals)
