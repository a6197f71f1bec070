"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gpt_flax.cache import KVCache
from gpt_flax.modeling import take_position
from gptcore import generation


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model
        self.graph, self.state = nnx.split(model)

    def start(self, input_ids, attention_mask, capacity):
        config, length = self.model.config, input_ids.shape[1]
        padding = ((0, 0), (0, generation.bucket(length, config.n_positions) - length))
        cache = KVCache.empty(
            config, len(input_ids), generation.bucket(capacity, config.n_positions), dtype=self.model.dtype
        )
        last = length - 1 - attention_mask[:, ::-1].argmax(-1)
        inputs = (jnp.asarray(np.pad(array, padding)) for array in (input_ids, attention_mask))
        logits, cache, hidden_states = run(self.graph, self.state, cache, *inputs, jnp.asarray(last))
        # The next token goes over the padding that the bucket brought.
        return np.asarray(logits), (cache._replace(length=jnp.asarray(length, jnp.int32)), hidden_states)

    def step(self, tokens, state):
        cache, _ = state
        logits, *state = run(self.graph, self.state, cache, jnp.asarray(tokens)[:, None])
        return np.asarray(logits), state

    def hidden_states(self, state):
        return np.asarray(state[1], np.float32)

    def reordered(self, state, rows):
        cache, hidden_states = state
        return cache.reordered(jnp.asarray(rows)), hidden_states[rows]


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def run(graph, state, cache, input_ids, attention_mask=None, last=None):
    """Logits (B, V) behind position ``last`` (B,) of ``input_ids`` (B, T); new cache; hidden states (B, T, C)."""
    model = nnx.merge(graph, state)
    output = model.transformer(input_ids, attention_mask, past_key_values=cache)
    hidden_states = output.last_hidden_state
    last = jnp.zeros(len(input_ids), jnp.int32) if last is None else last
    taken = take_position(hidden_states, last)  # (B, C)
    logits = model.lm_head(taken, model.transformer.tokens_embed)
    return logits.astype(jnp.float32), output.past_key_values, hidden_states


def generate(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings):
    """``FlaxOpenAIGPTLMHeadModel.generate``."""
    ids, mask = (np.asarray(x) if isinstance(x, jax.Array) else x for x in (input_ids, attention_mask))
    config, output = generation.generate(
        Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
    )
    sequences = jnp.asarray(output.sequences)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(map(jnp.asarray, output.scores))
    totals = None if output.sequences_scores is None else jnp.asarray(output.sequences_scores)
    return generation.GenerateOutput(sequences, scores, totals)
