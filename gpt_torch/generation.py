"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import numpy as np
import torch

from gpt_torch.cache import KVCache
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
        length = input_ids.shape[1]
        last = torch.from_numpy(length - 1 - attention_mask[:, ::-1].argmax(-1)).to(device)
        rows = torch.arange(len(last), device=device)
        return self.logits(output.last_hidden_state[rows, last]), output.past_key_values

    @torch.inference_mode()
    def step(self, tokens, state):
        output = self.model.transformer(torch.from_numpy(tokens).to(self.model.device)[:, None], past_key_values=state)
        return self.logits(output.last_hidden_state[:, 0]), output.past_key_values

    def reordered(self, state, rows):
        return state.reordered(torch.from_numpy(rows).to(self.model.device))

    def logits(self, hidden_states):  # (B, C)
        logits = self.model.lm_head(hidden_states, self.model.transformer.tokens_embed)
        return logits.float().cpu().numpy()


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
