"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gpt_flax.cache import KVCache
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
        logits, cache = run(self.graph, self.state, cache, *inputs, jnp.asarray(last))
        # The next token goes over the padding that the bucket brought.
        return np.asarray(logits), cache._replace(length=jnp.asarray(length, jnp.int32))

    def step(self, tokens, state):
        logits, cache = run(self.graph, self.state, state, jnp.asarray(tokens)[:, None])
        return np.asarray(logits), cache

    def reordered(self, state, rows):
        return state.reordered(jnp.asarray(rows))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def run(graph, state, cache, input_ids, attention_mask=None, last=None):
    """One compiled call: logits (B, V) behind position ``last`` (B,) of ``input_ids`` (B, T), and the new cache."""
    model = nnx.merge(graph, state)
    output = model.transformer(input_ids, attention_mask, past_key_values=cache)
    hidden_states = output.last_hidden_state
    last = jnp.zeros(len(input_ids), jnp.int32) if last is None else last
    hidden_states = jnp.take_along_axis(hidden_states, last[:, None, None], axis=1)[:, 0]  # (B, C)
    logits = model.lm_head(hidden_states, model.transformer.tokens_embed)
    return logits.astype(jnp.float32), output.past_key_values


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
