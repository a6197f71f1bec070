"""Generation: how ``gptcore.generation`` runs these models, with a KV cache."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt_tf.cache import KVCache
from gpt_tf.modeling import take_position
from gpt_tf.sampling import choose
from gpt_tf.text import continued, is_texts
from gpt_tf.weights import TensorLike
from gptcore import generation
from gptcore.generation import GenerateOutput, GenerationConfig, Prompt
from gptcore.generation.device import Method, Numbers, check_traced, program
from gptcore.generation.host.stepper import Logits
from gptcore.generation.prompt import Ids, padding_token

if TYPE_CHECKING:
    from gpt_tf.heads import TFOpenAIGPTLMHeadModel

Mask = NDArray[np.bool_]
State = tuple[KVCache, tf.Tensor]  # the cache, and the hidden states of the last call

# Model -> its embedding variable, attention and programs. Kept here, because Keras would save what a model holds.
compiled: weakref.WeakKeyDictionary[TFOpenAIGPTLMHeadModel, tuple[Any, str, Programs]] = weakref.WeakKeyDictionary()


class Stepper:
    """Runs a language model one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model: TFOpenAIGPTLMHeadModel) -> None:
        self.model = model
        self.programs = programs_of(model)

    def start(self, input_ids: Ids, attention_mask: Mask, capacity: int) -> tuple[Logits, State]:
        config, length = self.model.config, input_ids.shape[1]
        cache = KVCache.empty(
            config, len(input_ids), generation.bucket(capacity, config.n_positions), dtype=self.model.compute_dtype
        )
        ids, mask, last = self.padded(input_ids, attention_mask)
        logits, cache, hidden_states = self.programs.read(cache, ids, mask, last)
        # The next token overwrites the padding of the bucket.
        return logits.numpy(), (cache._replace(length=tf.constant(length)), hidden_states)

    def step(self, tokens: Ids, state: State) -> tuple[Logits, State]:
        cache, _ = state
        logits, cache, hidden_states = self.programs.read(cache, tf.constant(tokens[:, None]))
        return logits.numpy(), (cache, hidden_states)

    def hidden_states(self, state: State) -> NDArray[np.float32]:
        return tf.cast(state[1], tf.float32).numpy()

    def reordered(self, state: State, rows: Ids) -> State:
        cache, hidden_states = state
        return cache.reordered(tf.constant(rows)), tf.gather(hidden_states, rows)

    def continued(self, config: GenerationConfig, prompt: Prompt) -> Ids:
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

    def padded(self, input_ids: Ids, attention_mask: Mask) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Ids and mask filled up to the bucket, (B, N), and the position of the last token of each row, (B,)."""
        length = input_ids.shape[1]
        padding = ((0, 0), (0, generation.bucket(length, self.model.config.n_positions) - length))
        last = length - 1 - attention_mask[:, ::-1].argmax(-1)
        ids, mask = (tf.constant(np.pad(array, padding)) for array in (input_ids, attention_mask))
        return ids, mask, tf.constant(last)


def programs_of(model: TFOpenAIGPTLMHeadModel) -> Programs:
    """The graphs of a model, traced once for each set of shapes and filters, and again if their model has changed."""
    table, attention = model.transformer.tokens_embed.embeddings, model.attn_implementation
    known_table, known_attention, programs = compiled.get(model, (None, None, None))
    if programs is None or known_table is not table or known_attention != attention:
        programs = Programs(weakref.ref(model))
        compiled[model] = table, attention, programs
    return programs


class Programs:
    """Graphs that do not keep their model alive.

    Each combination of shapes and settings has a ``tf.function`` of its own. With one for all, TensorFlow would warn of
    retracing as soon as somebody tries a few settings.
    """

    def __init__(self, reference: Callable[[], Any]) -> None:
        self.reference = reference
        self.functions: dict[tuple[Any, ...], Any] = {}

    def read(self, cache: KVCache, *arguments: tf.Tensor) -> Any:
        """Call ``read`` with the model."""
        return self._function(read, (cache.keys[0], cache.attended, *arguments))(cache, *arguments)

    def loop(self, *arguments: Any) -> Any:
        """Call ``loop`` with the model, compiled by XLA."""
        return self._function(loop, tf.nest.flatten(arguments), jit_compile=True)(*arguments)

    def _function(self, body: Callable[..., Any], leaves: Sequence[Any], **options: Any) -> Any:
        key = (body, *((tuple(leaf.shape), leaf.dtype) if tf.is_tensor(leaf) else leaf for leaf in leaves))
        if key not in self.functions:
            # A partial, because TensorFlow counts the traces of all functions with the same code together.
            self.functions[key] = tf.function(partial(call, body, self.reference), **options)
        return self.functions[key]


def call(body: Callable[..., Any], reference: Callable[[], Any], *arguments: Any) -> Any:
    """Call a function with the model and more arguments."""
    return body(reference(), *arguments)


def read(
    model: TFOpenAIGPTLMHeadModel,
    cache: KVCache,
    input_ids: tf.Tensor,
    attention_mask: tf.Tensor | None = None,
    last: tf.Tensor | None = None,
) -> tuple[tf.Tensor, KVCache, tf.Tensor]:
    """The logits (B, V) of the token after position ``last`` (B,), the new cache, and the hidden states (B, T, C).

    ``input_ids`` are (B, T).
    """
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


def is_overridden(model: TFOpenAIGPTLMHeadModel) -> bool:
    """Whether a call of the model does more than its trunk and head."""
    return type(model).call is not type(model)._own_forward


def loop(
    model: TFOpenAIGPTLMHeadModel,
    input_ids: tf.Tensor,
    attention_mask: tf.Tensor,
    last: tf.Tensor,
    length: tf.Tensor,
    method: Method,
    numbers: Numbers,
    returned: tf.Tensor,
    capacity: int,
    room: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continue prompts without leaving the device.

    Args:
        model: The language model.
        input_ids, attention_mask: (B, N), the prompts; the first ``length`` columns count.
        last: (B,), position of the last token of each row.
        length: (), number of columns of the prompt.
        method, numbers: The two parts of the settings, from ``gptcore.generation.device.program``.
        returned: Number of consecutive rows that continue the same prompt.
        capacity: Number of slots of the cache.
        room: Number of columns of the result, at least ``numbers.max_new_tokens``.

    Returns:
        The new ids (B, room), and the number of filled columns, ().
    """
    batch = input_ids.shape[0]
    rows = tf.range(batch, dtype=tf.int64) % returned
    fill = tf.cast(numbers.fill_token_id, tf.int64)

    def put(
        ids: tf.Tensor, column: tf.Tensor, logits: tf.Tensor, running: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Select a token for each row that has not ended."""
        tokens = tf.where(running, choose(logits, method, numbers, rows, column), fill)
        ids = tf.where(tf.range(room) == column, tokens[:, None], ids)
        for end in numbers.eos_token_ids:
            running &= tokens != tf.cast(end, tf.int64)
        return ids, running, tokens

    def goes_on(ids: tf.Tensor, column: tf.Tensor, cache: KVCache, running: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        return (column < numbers.max_new_tokens) & tf.reduce_any(running)

    def go_on(
        ids: tf.Tensor, column: tf.Tensor, cache: KVCache, running: tf.Tensor, tokens: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, KVCache, tf.Tensor, tf.Tensor]:
        logits, cache, _ = read(model, cache, tf.maximum(tokens, 0)[:, None])
        ids, running, tokens = put(ids, column, logits, running)
        return ids, column + 1, cache, running, tokens

    cache = KVCache.empty(model.config, batch, capacity, dtype=model.compute_dtype)
    logits, cache, _ = read(model, cache, input_ids, attention_mask, last)
    # The next token overwrites the padding of the bucket.
    cache = cache._replace(length=length)
    ids, running, tokens = put(tf.fill((batch, room), fill), tf.constant(0), logits, tf.ones(batch, tf.bool))
    ids, count, *_ = tf.while_loop(goes_on, go_on, (ids, tf.constant(1), cache, running, tokens))
    return ids, count


def generate(
    model: TFOpenAIGPTLMHeadModel,
    input_ids: TensorLike | str | Sequence[str],
    attention_mask: TensorLike | None,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
) -> tf.Tensor | GenerateOutput | str | list[str]:
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


def traced(
    model: TFOpenAIGPTLMHeadModel,
    input_ids: TensorLike,
    attention_mask: TensorLike | None,
    generation_config: GenerationConfig | None,
    streamer: Any,
    settings: Mapping[str, Any],
) -> tf.Tensor:
    """``generate`` inside the user's graph: always (B, T + max_new_tokens) ids, padded after the end."""
    config = generation.settled(model.config, generation_config or model._generation_config, settings)
    shape = tuple(tf.convert_to_tensor(input_ids).shape)
    new = check_traced(model.config, config, shape, "tf.function", streamer)
    ids, mask = model._check(input_ids=input_ids, attention_mask=attention_mask)
    ids = tf.cast(ids, tf.int64)
    length = ids.shape[1]
    if mask is None:
        pad = padding_token(config)
        mask = tf.ones(ids.shape, tf.bool) if pad is None else ids != pad
    ids = tf.repeat(ids, config.num_return_sequences, axis=0)
    mask = tf.repeat(tf.cast(mask, tf.bool), config.num_return_sequences, axis=0)
    last = length - 1 - tf.argmax(tf.cast(mask[:, ::-1], tf.int32), -1)
    method, numbers = program(config, length, new)
    returned = tf.constant(config.num_return_sequences, tf.int64)
    length_and_on = (tf.constant(length), method, numbers, returned, length + new, new)
    new_ids, _ = loop(model, ids, mask, last, *length_and_on)
    return tf.concat([ids, new_ids], axis=1)
