"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import numpy as np
import torch

from gpt_torch.cache import KVCache
from gpt_torch.modeling import take_position
from gptcore import generation


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model

    @torch.inference_mode()
    def start(self, input_ids, attention_mask, capacity):
        trunk, device = self.model.transformer, self.model.device
        cache = KVCache.empty(self.model.config, len(input_ids), capacity, dtype=self.model.dtype, device=device)
        mask = None if attention_mask.all() else torch.from_numpy(attention_mask).to(device)
        output = trunk(torch.from_numpy(input_ids).to(device), mask, past_key_values=cache)
        last = torch.from_numpy(input_ids.shape[1] - 1 - attention_mask[:, ::-1].argmax(-1)).to(device)
        return self.result(output, last)

    @torch.inference_mode()
    def step(self, tokens, state):
        cache, _ = state
        output = self.model.transformer(torch.from_numpy(tokens).to(self.model.device)[:, None], past_key_values=cache)
        return self.result(output, torch.zeros(len(tokens), dtype=torch.int64, device=self.model.device))

    def result(self, output, last):
        """Logits behind position ``last`` (B,), and the state."""
        hidden_states = output.last_hidden_state
        taken = take_position(hidden_states, last)  # (B, C)
        logits = self.model.lm_head(taken, self.model.transformer.tokens_embed)
        return logits.float().cpu().numpy(), (output.past_key_values, hidden_states)

    def hidden_states(self, state):
        return state[1].float().cpu().numpy()

    def reordered(self, state, rows):
        cache, hidden_states = state
        rows = torch.from_numpy(rows).to(self.model.device)
        return cache.reordered(rows), hidden_states[rows]


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
