"""Generation: how ``gptcore.generation`` runs these models, with a KV cache."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from gpt_flax.cache import KVCache
from gpt_flax.modeling import take_position
from gpt_flax.sampling import choose
from gpt_flax.weights import TensorLike
from gptcore import generation
from gptcore.errors import InputError
from gptcore.generation import GenerateOutput, GenerationConfig, Prompt
from gptcore.generation.device import Method, Numbers, check_traced, program
from gptcore.generation.host.stepper import Logits
from gptcore.generation.prompt import Ids, padding_token

if TYPE_CHECKING:
    from gpt_flax.heads import FlaxOpenAIGPTLMHeadModel

Mask = NDArray[np.bool_]
Graph = nnx.GraphDef["FlaxOpenAIGPTLMHeadModel"]
Carry = tuple[jax.Array, Any, KVCache, jax.Array]  # ids, column, cache, running
State = tuple[KVCache, jax.Array]  # the cache, and the hidden states of the last call


class Stepper:
    """Runs a language model one token at a time; see ``gptcore.generation.Stepper``."""

    def __init__(self, model: FlaxOpenAIGPTLMHeadModel) -> None:
        self.model = model
        self.graph, self.state = nnx.split(model)

    def start(self, input_ids: Ids, attention_mask: Mask, capacity: int) -> tuple[Logits, State]:
        config, length = self.model.config, input_ids.shape[1]
        cache = KVCache.empty(
            config, len(input_ids), generation.bucket(capacity, config.n_positions), dtype=self.model.dtype
        )
        ids, mask, last = self.padded(input_ids, attention_mask)
        logits, cache, hidden_states = run(self.graph, self.state, cache, ids, mask, last)
        # The next token overwrites the padding of the bucket.
        return np.asarray(logits), (cache._replace(length=jnp.asarray(length, jnp.int32)), hidden_states)

    def step(self, tokens: Ids, state: State) -> tuple[Logits, State]:
        cache, _ = state
        logits, cache, hidden_states = run(self.graph, self.state, cache, jnp.asarray(tokens)[:, None])
        return np.asarray(logits), (cache, hidden_states)

    def hidden_states(self, state: State) -> NDArray[np.float32]:
        return np.asarray(state[1], np.float32)

    def reordered(self, state: State, rows: Ids) -> State:
        cache, hidden_states = state
        return cache.reordered(jnp.asarray(rows)), hidden_states[rows]

    def continued(self, config: GenerationConfig, prompt: Prompt) -> Ids:
        method, numbers = program(config, prompt.length, prompt.max_new_tokens)
        positions = self.model.config.n_positions
        ids, count = loop(
            self.graph,
            self.state,
            *self.padded(prompt.input_ids, prompt.attention_mask),
            prompt.length,
            method,
            numbers,
            config.num_return_sequences,
            generation.bucket(prompt.length + prompt.max_new_tokens, positions),
            generation.bucket(prompt.max_new_tokens, positions),
        )
        return np.asarray(ids)[:, : int(count)]

    def padded(self, input_ids: Ids, attention_mask: Mask) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Ids and mask filled up to the bucket, (B, N), and the position of the last token of each row, (B,)."""
        length = input_ids.shape[1]
        padding = ((0, 0), (0, generation.bucket(length, self.model.config.n_positions) - length))
        last = length - 1 - attention_mask[:, ::-1].argmax(-1)
        ids, mask = (jnp.asarray(np.pad(array, padding)) for array in (input_ids, attention_mask))
        return ids, mask, jnp.asarray(last)


def read(
    graph: Graph,
    state: nnx.State[Any, Any],
    cache: KVCache,
    input_ids: jax.Array,
    attention_mask: jax.Array | None = None,
    last: jax.Array | None = None,
) -> tuple[jax.Array, KVCache, jax.Array]:
    """The logits (B, V) of the token after position ``last`` (B,), the new cache, and the hidden states (B, T, C).

    ``input_ids`` are (B, T).
    """
    model = nnx.merge(graph, state)
    model.eval()  # no dropout; the model of the caller keeps its mode
    last = jnp.zeros(input_ids.shape[0], jnp.int32) if last is None else last
    output: Any
    if is_overridden(model):
        options: dict[str, Any] = {"output_hidden_states": True, "return_dict": True, "past_key_values": cache}
        output = model(input_ids, attention_mask, **options)
        logits = take_position(output.logits, last).astype(jnp.float32)
        return logits, output.past_key_values, output.hidden_states[-1]
    output = model.transformer(input_ids, attention_mask, return_dict=True, past_key_values=cache)
    hidden_states = output.last_hidden_state
    logits = model.lm_head(take_position(hidden_states, last), model.transformer.tokens_embed)
    return logits.astype(jnp.float32), output.past_key_values, hidden_states


def is_overridden(model: FlaxOpenAIGPTLMHeadModel) -> bool:
    """Whether a call of the model does more than its trunk and head."""
    return type(model).__call__ is not type(model)._own_forward


run = jax.jit(read, static_argnums=0, donate_argnums=2)


@functools.partial(jax.jit, static_argnames=("graph", "method", "returned", "capacity", "room"))
def loop(
    graph: Graph,
    state: nnx.State[Any, Any],
    input_ids: jax.Array,
    attention_mask: jax.Array,
    last: jax.Array,
    length: int,
    method: Method,
    numbers: Numbers,
    returned: int,
    capacity: int,
    room: int,
) -> tuple[jax.Array, jax.Array]:
    """Continue prompts without leaving the device.

    Args:
        graph, state: The language model, as ``nnx.split`` returns it.
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
    model, batch = nnx.merge(graph, state), input_ids.shape[0]
    rows = jnp.arange(batch) % returned
    fill = numbers.fill_token_id

    def put(
        ids: jax.Array, column: int | jax.Array, logits: jax.Array, running: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Select a token for each row that has not ended."""
        tokens = jnp.where(running, choose(logits, method, numbers, rows, column), fill).astype(jnp.int32)
        ids = jax.lax.dynamic_update_slice_in_dim(ids, tokens[:, None], column, axis=1)
        return ids, running & ~jnp.isin(tokens, jnp.asarray(numbers.eos_token_ids, jnp.int32))

    def goes_on(carry: Carry) -> jax.Array:
        _, column, _, running = carry
        return (column < numbers.max_new_tokens) & running.any()

    def go_on(carry: Carry) -> Carry:
        ids, column, cache, running = carry
        tokens = jax.lax.dynamic_slice_in_dim(ids, column - 1, 1, axis=1)
        logits, cache, _ = read(graph, state, cache, jnp.maximum(tokens, 0))
        ids, running = put(ids, column, logits, running)
        return ids, column + 1, cache, running

    cache = KVCache.empty(model.config, batch, capacity, dtype=model.dtype)
    logits, cache, _ = read(graph, state, cache, input_ids, attention_mask, last)
    # The next token overwrites the padding of the bucket.
    cache = cache._replace(length=jnp.asarray(length, jnp.int32))
    ids, running = put(jnp.full((batch, room), fill, jnp.int32), 0, logits, jnp.ones(batch, bool))
    carry: Carry = (ids, 1, cache, running)
    ids, count, *_ = jax.lax.while_loop(goes_on, go_on, carry)
    return ids, count


def generate(
    model: FlaxOpenAIGPTLMHeadModel,
    input_ids: TensorLike,
    attention_mask: TensorLike | None,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
) -> jax.Array | GenerateOutput:
    """``FlaxOpenAIGPTLMHeadModel.generate``."""
    table = model.transformer.tokens_embed.embedding.get_value()
    if any(isinstance(x, jax.core.Tracer) for x in (input_ids, attention_mask, table, *settings.values())):
        return traced(model, input_ids, attention_mask, generation_config, streamer, settings)
    ids, mask = (np.asarray(x) if isinstance(x, jax.Array) else x for x in (input_ids, attention_mask))
    generation_config = generation_config or model._generation_config
    config, output = generation.generate(
        Stepper(model), model.config, ids, mask, generation_config, streamer, tokenizer, settings
    )
    sequences = jnp.asarray(output.sequences)
    if not config.return_dict_in_generate:
        return sequences
    scores = None if output.scores is None else tuple(map(jnp.asarray, output.scores))
    totals = None if output.sequences_scores is None else jnp.asarray(output.sequences_scores)
    return generation.GenerateOutput(sequences=sequences, scores=scores, sequences_scores=totals)


def traced(
    model: FlaxOpenAIGPTLMHeadModel,
    input_ids: TensorLike,
    attention_mask: TensorLike | None,
    generation_config: GenerationConfig | None,
    streamer: Any,
    settings: Mapping[str, Any],
) -> jax.Array:
    """``generate`` inside the user's program: always (B, T + max_new_tokens) ids, padded after the end."""
    seed: Any = settings.get("seed")
    known = settings
    if isinstance(seed, jax.core.Tracer) and seed.shape == () and jnp.issubdtype(seed.dtype, jnp.integer):
        known = {**settings, "seed": 0}
    for name, value in known.items():
        if isinstance(value, jax.core.Tracer):
            raise InputError(
                f"{name} must be known inside jax.jit; got {value.aval}. Pass a Python number; only seed may be "
                "traced, as one integer."
            )
    config = generation.settled(model.config, generation_config or model._generation_config, known)
    new = check_traced(model.config, config, np.shape(input_ids), "jax.jit", streamer)
    input_ids, attention_mask = model._check(input_ids=input_ids, attention_mask=attention_mask)
    input_ids = jnp.asarray(input_ids)
    if attention_mask is None:
        pad = padding_token(config)
        attention_mask = jnp.ones(input_ids.shape, bool) if pad is None else input_ids != pad
    input_ids, attention_mask = (jnp.repeat(x, config.num_return_sequences, 0) for x in (input_ids, attention_mask))
    length = input_ids.shape[1]
    last = length - 1 - attention_mask[:, ::-1].argmax(-1)
    method, numbers = program(config, length, new)
    if known is not settings:
        numbers = numbers._replace(seed=seed.astype(jnp.uint32))
    ids, _ = loop(
        *nnx.split(model),
        input_ids,
        attention_mask,
        last,
        length,
        method,
        numbers,
        config.num_return_sequences,
        length + new,
        new,
    )
    return jnp.concatenate([input_ids, ids], axis=1)
