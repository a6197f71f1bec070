"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import numpy as np
import torch

from gpt_torch.cache import KVCache
from gpt_torch.modeling import take_position
from gpt_torch.projection import lay_out
from gpt_torch.sampling import choose
from gptcore import generation
from gptcore.generation.device import program


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model
        lay_out(model, by_columns=True)

    @torch.inference_mode()
    def start(self, input_ids, attention_mask, capacity):
        logits, state = self.read_prompt(input_ids, attention_mask, capacity)
        return as_numpy(logits), state

    @torch.inference_mode()
    def step(self, tokens, state):
        logits, state = self.read(torch.from_numpy(tokens).to(self.model.device), state)
        return as_numpy(logits), state

    def hidden_states(self, state):
        return as_numpy(state[1])

    def reordered(self, state, rows):
        cache, hidden_states = state
        rows = torch.from_numpy(rows).to(self.model.device)
        return cache.reordered(rows), hidden_states[rows]

    @torch.inference_mode()
    def continued(self, config, prompt):
        method, numbers = program(config, prompt.length, prompt.max_new_tokens)
        ends = torch.tensor(numbers.eos_token_ids, device=self.model.device)
        rows = torch.arange(len(prompt.input_ids), device=self.model.device)
        ids = torch.full((len(rows), numbers.max_new_tokens), numbers.fill_token_id, device=rows.device)
        running = torch.ones_like(rows, dtype=torch.bool)
        capacity = prompt.length + prompt.max_new_tokens
        logits, state = self.read_prompt(prompt.input_ids, prompt.attention_mask, capacity)
        for column in range(numbers.max_new_tokens):
            if column:
                logits, state = self.read(ids[:, column - 1], state)
            tokens = choose(logits, method, numbers, rows % config.num_return_sequences, column)
            ids[:, column] = tokens.where(running, numbers.fill_token_id)
            if numbers.eos_token_ids:  # otherwise the host need not wait
                running &= ~torch.isin(tokens, ends)
                if not running.any():
                    break
        return ids[:, : column + 1].cpu().numpy()

    def read_prompt(self, input_ids, attention_mask, capacity):
        """As ``start``, with logits on the device."""
        model, device = self.model, self.model.device
        cache = KVCache.empty(model.config, len(input_ids), capacity, dtype=model.dtype, device=device)
        mask = None if attention_mask.all() else torch.from_numpy(attention_mask).to(device)
        output = model.transformer(torch.from_numpy(input_ids).to(device), mask, past_key_values=cache)
        last = torch.from_numpy(input_ids.shape[1] - 1 - attention_mask[:, ::-1].argmax(-1)).to(device)
        return self.logits(take_position(output.last_hidden_state, last)), state_of(output)

    def read(self, tokens, state):
        """As ``step``, with tokens and logits on the device."""
        output = self.model.transformer(tokens[:, None], past_key_values=state[0])
        return self.logits(output.last_hidden_state[:, 0]), state_of(output)

    def logits(self, hidden_states):  # (B, C)
        return self.model.lm_head(hidden_states, self.model.transformer.tokens_embed)  # (B, V)


def state_of(output):
    return output.past_key_values, output.last_hidden_state


def as_numpy(tensor):
    return tensor.float().cpu().numpy()


def generate(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings):
    """``OpenAIGPTLMHeadModel.generate``."""
    ids, mask = (x.cpu().numpy() if isinstance(x, torch.Tensor) else x for x in (input_ids, attention_mask))
    config, output = generation.generate(
        Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
    )
    sequences = torch.from_numpy(output.sequences).to(model.device)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(torch.from_numpy(np.asarray(s)) for s in output.scores)
    totals = None if output.sequences_scores is None else torch.from_numpy(output.sequences_scores)
    return generation.GenerateOutput(sequences, scores, totals)
