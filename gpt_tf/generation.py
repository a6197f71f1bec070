"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import weakref

import numpy as np
import tensorflow as tf

from gpt_tf.cache import KVCache
from gpt_tf.modeling import take_position
from gptcore import generation

# Model -> its embedding variable and graph. Kept here, because Keras would save what a model holds.
compiled = weakref.WeakKeyDictionary()


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model
        self.run = graph_of(model)

    def start(self, input_ids, attention_mask, capacity):
        config, length = self.model.config, input_ids.shape[1]
        padding = ((0, 0), (0, generation.bucket(length, config.n_positions) - length))
        cache = KVCache.empty(
            config, len(input_ids), generation.bucket(capacity, config.n_positions), dtype=self.model.compute_dtype
        )
        last = length - 1 - attention_mask[:, ::-1].argmax(-1)
        inputs = (tf.constant(np.pad(array, padding)) for array in (input_ids, attention_mask))
        logits, cache, hidden_states = self.run(cache, *inputs, tf.constant(last))
        # The next token goes over the padding that the bucket brought.
        return logits.numpy(), (cache._replace(length=tf.constant(length)), hidden_states)

    def step(self, tokens, state):
        cache, _ = state
        logits, *state = self.run(cache, tf.constant(tokens[:, None]))
        return logits.numpy(), state

    def hidden_states(self, state):
        return tf.cast(state[1], tf.float32).numpy()

    def reordered(self, state, rows):
        cache, hidden_states = state
        return cache.reordered(tf.constant(rows)), tf.gather(hidden_states, rows)


def graph_of(model):
    """The graph for prompts and steps, traced once for each pair of bucket and batch size; anew after a resize."""
    table = model.transformer.tokens_embed.embeddings
    known, graph = compiled.get(model, (None, None))
    if known is not table:
        graph = make_graph(weakref.ref(model))
        compiled[model] = table, graph
    return graph


def make_graph(reference):
    """A graph that does not keep its model alive."""

    @tf.function
    def run(cache, input_ids, attention_mask=None, last=None):
        """Logits (B, V) behind position ``last`` (B,) of ``input_ids`` (B, T); new cache; hidden states (B, T, C)."""
        model = reference()
        output = model.transformer(input_ids, attention_mask, past_key_values=cache)
        last = tf.zeros(len(input_ids), tf.int64) if last is None else last
        hidden_states = output.last_hidden_state
        taken = take_position(hidden_states, last)  # (B, C)
        logits = model.lm_head(taken, tokens_embed=model.transformer.tokens_embed)
        return tf.cast(logits, tf.float32), output.past_key_values, hidden_states

    return run


def generate(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings):
    """``TFOpenAIGPTLMHeadModel.generate``."""
    ids, mask = (x.numpy() if isinstance(x, tf.Tensor) else x for x in (input_ids, attention_mask))
    config, output = generation.generate(
        Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
    )
    sequences = tf.constant(output.sequences)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(map(tf.constant, output.scores))
    totals = None if output.sequences_scores is None else tf.constant(output.sequences_scores)
    return generation.GenerateOutput(sequences, scores, totals)
