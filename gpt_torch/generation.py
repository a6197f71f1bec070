"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import numpy as np
import torch

from gpt_torch.cache import KVCache
from gpt_torch.modeling import take_position
from gpt_torch.pretrained import without_dropout
from gpt_torch.sampling import choose
from gptcore import generation
from gptcore.generation.device import program


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model

    @torch.inference_mode()
    def start(self, input_ids, attention_mask, capacity):
        model = self.model
        cache = KVCache.empty(model.config, len(input_ids), capacity, dtype=model.dtype, device=model.device)
        logits, *state = read(model, cache, *self.tensors(input_ids, attention_mask))
        return logits.cpu().numpy(), state

    @torch.inference_mode()
    def step(self, tokens, state):
        cache, _ = state
        logits, *state = read(self.model, cache, torch.from_numpy(tokens).to(self.model.device)[:, None])
        return logits.cpu().numpy(), state

    def hidden_states(self, state):
        return state[1].float().cpu().numpy()

    def reordered(self, state, rows):
        cache, hidden_states = state
        rows = torch.from_numpy(rows).to(self.model.device)
        return cache.reordered(rows), hidden_states[rows]

    @torch.inference_mode()
    def continued(self, config, prompt):
        method, numbers = program(config, prompt.length, prompt.max_new_tokens)
        tensors = self.tensors(prompt.input_ids, prompt.attention_mask)
        return loop(self.model, *tensors, method, numbers, config.num_return_sequences).cpu().numpy()

    def tensors(self, input_ids, attention_mask):
        """Ids, mask or ``None`` where all count, and the position of the last token of each row, (B,)."""
        last = input_ids.shape[1] - 1 - attention_mask[:, ::-1].argmax(-1)
        arrays = (input_ids, None if attention_mask.all() else attention_mask, last)
        return (x if x is None else torch.from_numpy(x).to(self.model.device) for x in arrays)


def read(model, cache, input_ids, attention_mask=None, last=None):
    """Logits (B, V) behind position ``last`` (B,) of ``input_ids`` (B, T); new cache; hidden states (B, T, C)."""
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


def is_overridden(model):
    """Whether a call of the model does more than its trunk and head."""
    patched = "forward" in vars(model) or type(model).forward is not type(model)._own_forward
    return patched or bool(model._forward_hooks or model._forward_pre_hooks)


def loop(model, input_ids, attention_mask, last, method, numbers, returned):
    """Continue prompts without leaving the device.

    Args:
        model: the language model.
        input_ids, attention_mask: (B, T), the prompts; no mask if all tokens count.
        last: (B,), position of the last token of each row.
        method, numbers: the two parts of the settings, from ``gptcore.generation.device.program``.
        returned: number of consecutive rows that continue the same prompt.

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
        if numbers.eos_token_ids:  # otherwise the host need not wait
            running &= ~torch.isin(tokens, ends)
            if not running.any():
                return ids[:, : column + 1]
    return ids


def generate(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings):
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
