"""Generation: the trunk with a KV cache behind ``gptcore.generation``."""

import weakref

import numpy as np
import tensorflow as tf

from gpt_tf.cache import KVCache
from gpt_tf.modeling import take_position
from gpt_tf.sampling import choose
from gpt_tf.text import continued, is_texts
from gptcore import generation
from gptcore.generation.device import check_traced, program
from gptcore.generation.prompt import padding_token

# Model -> its embedding variable and programs. Kept here, because Keras would save what a model holds.
compiled = weakref.WeakKeyDictionary()


class Stepper:
    """A language model, one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model):
        self.model = model
        self.programs = programs_of(model)

    def start(self, input_ids, attention_mask, capacity):
        config, length = self.model.config, input_ids.shape[1]
        cache = KVCache.empty(
            config, len(input_ids), generation.bucket(capacity, config.n_positions), dtype=self.model.compute_dtype
        )
        ids, mask, last = self.padded(input_ids, attention_mask)
        logits, cache, hidden_states = self.programs.read(cache, ids, mask, last)
        # The next token goes over the padding that the bucket brought.
        return logits.numpy(), (cache._replace(length=tf.constant(length)), hidden_states)

    def step(self, tokens, state):
        cache, _ = state
        logits, *state = self.programs.read(cache, tf.constant(tokens[:, None]))
        return logits.numpy(), state

    def hidden_states(self, state):
        return tf.cast(state[1], tf.float32).numpy()

    def reordered(self, state, rows):
        cache, hidden_states = state
        return cache.reordered(tf.constant(rows)), tf.gather(hidden_states, rows)

    def continued(self, config, prompt):
        method, numbers = program(config, prompt.length, prompt.max_new_tokens)
        positions = self.model.config.n_positions
        ids, count = self.programs.loop(
            *self.padded(prompt.input_ids, prompt.attention_mask),
            tf.constant(prompt.length),
            method,
            tf.nest.map_structure(tf.constant, numbers),
            tf.constant(config.num_return_sequences, tf.int64),
            generation.bucket(prompt.length + prompt.max_new_tokens, positions),
            generation.bucket(prompt.max_new_tokens, positions),
        )
        return ids[:, :count].numpy()

    def padded(self, input_ids, attention_mask):
        """Ids and mask filled up to the bucket, (B, N), and the position of the last token of each row, (B,)."""
        length = input_ids.shape[1]
        padding = ((0, 0), (0, generation.bucket(length, self.model.config.n_positions) - length))
        last = length - 1 - attention_mask[:, ::-1].argmax(-1)
        return *(tf.constant(np.pad(array, padding)) for array in (input_ids, attention_mask)), tf.constant(last)


def programs_of(model):
    """The graphs of a model, traced once for each set of shapes and filters, and again after a resize."""
    table = model.transformer.tokens_embed.embeddings
    known, programs = compiled.get(model, (None, None))
    if known is not table:
        programs = Programs(weakref.ref(model))
        compiled[model] = table, programs
    return programs


class Programs:
    """Graphs that do not keep their model alive."""

    def __init__(self, reference):
        self.read = tf.function(lambda *arguments: read(reference(), *arguments))
        self.loop = tf.function(lambda *arguments: loop(reference(), *arguments), jit_compile=True)


def read(model, cache, input_ids, attention_mask=None, last=None):
    """Logits (B, V) behind position ``last`` (B,) of ``input_ids`` (B, T); new cache; hidden states (B, T, C)."""
    last = tf.zeros(tf.shape(input_ids)[:1], tf.int64) if last is None else last
    if is_overridden(model):
        options = {"output_hidden_states": True, "return_dict": True, "past_key_values": cache}
        output = model(input_ids, attention_mask, **options)
        logits = tf.cast(take_position(output.logits, last), tf.float32)
        return logits, output.past_key_values, output.hidden_states[-1]
    output = model.transformer(input_ids, attention_mask, return_dict=True, past_key_values=cache)
    hidden_states = output.last_hidden_state
    taken = take_position(hidden_states, last)  # (B, C)
    logits = model.lm_head(taken, tokens_embed=model.transformer.tokens_embed)
    return tf.cast(logits, tf.float32), output.past_key_values, hidden_states


def is_overridden(model):
    """Whether a call of the model does more than its trunk and head."""
    return type(model).call is not type(model)._own_forward


def loop(model, input_ids, attention_mask, last, length, method, numbers, returned, capacity, room):
    """Continue prompts without leaving the device.

    Args:
        model: the language model.
        input_ids, attention_mask: (B, N), the prompts; the first ``length`` columns count.
        last: (B,), position of the last token of each row.
        length: (), number of columns of the prompt.
        method, numbers: the two parts of the settings, from ``gptcore.generation.device.program``.
        returned: number of consecutive rows that continue the same prompt.
        capacity: number of slots of the cache.
        room: number of columns of the result, at least ``numbers.max_new_tokens``.

    Returns:
        The new ids (B, room), and the number of filled columns, ().
    """
    batch = input_ids.shape[0]
    rows = tf.range(batch, dtype=tf.int64) % returned
    fill = tf.cast(numbers.fill_token_id, tf.int64)

    def put(ids, column, logits, running):
        """Choose a token for each row that has not ended."""
        tokens = tf.where(running, choose(logits, method, numbers, rows, column), fill)
        ids = tf.where(tf.range(room) == column, tokens[:, None], ids)
        for end in numbers.eos_token_ids:
            running &= tokens != tf.cast(end, tf.int64)
        return ids, running, tokens

    def goes_on(ids, column, cache, running, tokens):
        return (column < numbers.max_new_tokens) & tf.reduce_any(running)

    def go_on(ids, column, cache, running, tokens):
        logits, cache, _ = read(model, cache, tf.maximum(tokens, 0)[:, None])
        ids, running, tokens = put(ids, column, logits, running)
        return ids, column + 1, cache, running, tokens

    cache = KVCache.empty(model.config, batch, capacity, dtype=model.compute_dtype)
    logits, cache, _ = read(model, cache, input_ids, attention_mask, last)
    # The next token goes over the padding that the bucket brought.
    cache = cache._replace(length=length)
    ids, running, tokens = put(tf.fill((batch, room), fill), tf.constant(0), logits, tf.ones(batch, tf.bool))
    ids, count, *_ = tf.while_loop(goes_on, go_on, (ids, tf.constant(1), cache, running, tokens))
    return ids, count


def generate(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings):
    """``TFOpenAIGPTLMHeadModel.generate``."""
    if isinstance(input_ids, str) or is_texts(input_ids):
        return continued(model, input_ids, attention_mask, generation_config, streamer, tokenizer, settings)
    if tf.inside_function():
        return traced(model, input_ids, attention_mask, generation_config, streamer, settings)
    ids, mask = (x.numpy() if isinstance(x, tf.Tensor) else x for x in (input_ids, attention_mask))
    generation_config = generation_config or model._generation_config
    config, output = generation.generate(
        Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
    )
    sequences = tf.constant(output.sequences)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(map(tf.constant, output.scores))
    totals = None if output.sequences_scores is None else tf.constant(output.sequences_scores)
    return generation.GenerateOutput(sequences=sequences, scores=scores, sequences_scores=totals)


def traced(model, input_ids, attention_mask, generation_config, streamer, settings):
    """Inside a graph of the user's: always (B, T + max_new_tokens) ids, filled behind the end."""
    config = generation.settled(model.config, generation_config or model._generation_config, settings)
    shape = tuple(tf.convert_to_tensor(input_ids).shape)
    new = check_traced(model.config, config, shape, "tf.function", streamer)
    input_ids, attention_mask = model._check(input_ids=input_ids, attention_mask=attention_mask)
    input_ids = tf.cast(input_ids, tf.int64)
    length = input_ids.shape[1]
    if attention_mask is None:
        pad = padding_token(config)
        attention_mask = tf.ones(input_ids.shape, tf.bool) if pad is None else input_ids != pad
    attention_mask = tf.cast(attention_mask, tf.bool)
    input_ids, attention_mask = (tf.repeat(x, config.num_return_sequences, axis=0) for x in (input_ids, attention_mask))
    last = length - 1 - tf.argmax(tf.cast(attention_mask[:, ::-1], tf.int32), -1)
    method, numbers = program(config, length, new)
    returned = tf.constant(config.num_return_sequences, tf.int64)
    length_and_on = (tf.constant(length), method, numbers, returned, length + new, new)
    ids, _ = loop(model, input_ids, attention_mask, last, *length_and_on)
    return tf.concat([input_ids, ids], axis=1)
