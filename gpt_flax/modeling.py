"""The OpenAI GPT forward pass in Flax NNX on JAX (Radford et al. 2018, section 3.1), top to bottom.

``B`` batch, ``T`` query positions, ``S`` key positions, ``C`` n_embd, ``H`` heads, ``D`` head size, ``V`` vocabulary,
``P`` n_positions, ``L`` layers. Comments such as ``# (B, T, C)`` give the shape of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from numpy.typing import NDArray

from gpt_flax.cache import KVCache, write
from gpt_flax.outputs import FlaxBaseModelOutput
from gpt_flax.pretrained import UNSET_SEED, FlaxOpenAIGPTPreTrainedModel, seeded
from gpt_flax.weights import TensorLike, wide
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, feed_forward_width

Slots = tuple[jax.Array, jax.Array, jax.Array]  # keys and values of a layer, and the number of filled slots
Rows = TypeVar("Rows", jax.Array, None)


def gelu(x: jax.Array) -> jax.Array:
    """GELU in the tanh form of OpenAI's code."""
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}


def attention_allowed(attention_mask: jax.Array | None, queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Which keys each query may read, (B, 1, T, S) bool: no future tokens and no padding, but at least one key.

    A query that could read nothing (padding on the left) reads itself, so that no softmax is over an empty set.
    ``queries`` (T,) and ``keys`` (S,) are positions in the sequence; ``attention_mask`` (B, S) is 0 for padding.
    """
    queries, keys = queries[None, :, None], keys[None, None, :]
    allowed = keys <= queries  # (1, T, S)
    if attention_mask is None:
        return allowed[None]  # (1, 1, T, S)
    allowed = allowed & attention_mask.astype(bool)[:, None, :]  # (B, T, S)
    reads_nothing = ~allowed.any(-1, keepdims=True)
    itself = keys == queries
    return (allowed | (reads_nothing & itself))[:, None]  # (B, 1, T, S)


def eager_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, allowed: jax.Array, dropout: nnx.Dropout
) -> tuple[jax.Array, jax.Array]:
    """Softmax attention written out: the context (B, T, H, D) and the probabilities (B, H, T, S).

    ``query`` is (B, T, H, D), ``key`` and ``value`` are (B, S, H, D).
    """
    scores = jnp.einsum("BTHD,BSHD->BHTS", query, key) / math.sqrt(query.shape[-1])  # (B, H, T, S)
    scores = jnp.where(allowed, scores, jnp.finfo(scores.dtype).min)
    probabilities = jax.nn.softmax(wide(scores), axis=-1).astype(scores.dtype)
    probabilities = dropout(probabilities)
    return jnp.einsum("BHTS,BSHD->BTHD", probabilities, value), probabilities  # (B, T, H, D)


def sdpa_attention(query: jax.Array, key: jax.Array, value: jax.Array, allowed: jax.Array | None) -> jax.Array:
    """As ``eager_attention``, but by JAX's own operation and without returning the probabilities.

    ``allowed=None`` is the plain causal mask.
    """
    return jax.nn.dot_product_attention(
        query, key, value, mask=allowed, is_causal=allowed is None, scale=1 / math.sqrt(query.shape[-1])
    )


def unset(key: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros that take no memory: each parameter then gets its value from the parameter table."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def partitioned(*names: str) -> Callable[..., Any]:
    """An initializer that names the logical axes of a parameter, for users who shard over a mesh."""
    return nnx.with_metadata(unset, out_sharding=names, eager_sharding=False)


def embedding(rows: int, config: OpenAIGPTConfig, dtype: jnp.dtype, axis: str) -> nnx.Embed:
    """A table of ``rows`` vectors; its initial values come from the parameter table."""
    init = partitioned(axis, "embed")
    return nnx.Embed(rows, config.n_embd, embedding_init=init, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))


def projection(
    width_in: int, width_out: int, dtype: jnp.dtype, axes: tuple[str, str], use_bias: bool = True
) -> nnx.Linear:
    """``x @ kernel + bias``; the kernel is stored (in, out), as in OpenAI's code and the published files."""
    return nnx.Linear(
        width_in,
        width_out,
        use_bias=use_bias,
        kernel_init=partitioned(*axes),
        bias_init=partitioned(axes[1]),
        dtype=dtype,
        param_dtype=dtype,
        rngs=nnx.Rngs(0),
    )


def layer_norm(config: OpenAIGPTConfig, dtype: jnp.dtype) -> nnx.LayerNorm:
    """A LayerNorm over the last axis."""
    return nnx.LayerNorm(
        config.n_embd,
        epsilon=config.layer_norm_epsilon,
        use_fast_variance=False,
        scale_init=partitioned("embed"),
        bias_init=partitioned("embed"),
        dtype=dtype,
        param_dtype=dtype,
        rngs=nnx.Rngs(0),
    )


class Attention(nnx.Module):
    """Causal self-attention: project, split heads, attend, merge heads, project."""

    def __init__(self, config: OpenAIGPTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.n_head = config.n_head
        self.c_attn = projection(config.n_embd, 3 * config.n_embd, dtype, ("embed", "heads"))
        self.c_proj = projection(config.n_embd, config.n_embd, dtype, ("heads", "embed"))
        self.attn_dropout = nnx.Dropout(config.attn_pdrop, rngs=rngs)
        self.resid_dropout = nnx.Dropout(config.resid_pdrop, rngs=rngs)

    def __call__(
        self,
        hidden_states: jax.Array,
        allowed: jax.Array | None,
        head_mask: jax.Array | None = None,
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[jax.Array, jax.Array | None, tuple[jax.Array, jax.Array] | None]:
        query, key, value = (self.split_heads(x) for x in jnp.split(self.c_attn(hidden_states), 3, axis=-1))
        if slots is not None:
            past_keys, past_values, length = slots
            slots = write(past_keys, key, length), write(past_values, value, length)
            # The cache is stored heads first, so that no product has to move all of it; here the axes are swapped back.
            key, value = (x.swapaxes(1, 2) for x in slots)  # (B, S, H, D)
        probabilities = None
        if eager:
            context, probabilities = eager_attention(query, key, value, allowed, self.attn_dropout)  # type: ignore[arg-type]  # never None here
        else:
            context = sdpa_attention(query, key, value, allowed)
        if head_mask is not None:
            scale = head_mask.astype(context.dtype)
            context = context * scale[None, None, :, None]
            probabilities = None if probabilities is None else probabilities * scale[None, :, None, None]
        return self.resid_dropout(self.c_proj(self.merge_heads(context))), probabilities, slots

    def split_heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.n_head, -1)  # (B, T, H, D)

    def merge_heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-2], -1)  # (B, T, C)


class MLP(nnx.Module):
    """The position-wise feed-forward network."""

    def __init__(self, config: OpenAIGPTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.activation = config.afn  # by name: JAX's functions cannot be pickled
        self.c_fc = projection(config.n_embd, feed_forward_width(config), dtype, ("embed", "mlp"))
        self.c_proj = projection(feed_forward_width(config), config.n_embd, dtype, ("mlp", "embed"))
        self.dropout = nnx.Dropout(config.resid_pdrop, rngs=rngs)

    def __call__(self, hidden_states: jax.Array) -> jax.Array:
        return self.dropout(self.c_proj(ACTIVATIONS[self.activation](self.c_fc(hidden_states))))


# Post-LayerNorm, as in GPT-1 (GPT-2 normalises before each sub-layer; we do not):
#   x ---+-- attn --(+)-- ln_1 ---+-- mlp --(+)-- ln_2 --> out
#        +-----------^            +----------^
class Block(nnx.Module):
    """One layer of the trunk."""

    def __init__(self, config: OpenAIGPTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.attn = Attention(config, dtype, rngs)
        self.ln_1 = layer_norm(config, dtype)
        self.mlp = MLP(config, dtype, rngs)
        self.ln_2 = layer_norm(config, dtype)

    def __call__(
        self,
        hidden_states: jax.Array,
        allowed: jax.Array | None,
        head_mask: jax.Array | None = None,
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[jax.Array, jax.Array | None, tuple[jax.Array, jax.Array] | None]:
        attended, probabilities, slots = self.attn(hidden_states, allowed, head_mask, eager, slots)
        hidden_states = self.ln_1(hidden_states + attended)
        return self.ln_2(hidden_states + self.mlp(hidden_states)), probabilities, slots


class FlaxOpenAIGPTModel(FlaxOpenAIGPTPreTrainedModel):
    """The trunk: embeddings and blocks, no final LayerNorm.

    Args:
        config: The config, which is not changed.
        dtype: Dtype of all weights: ``float32``, ``float64``, ``bfloat16`` or ``float16``. Default: ``float32``.
        attn_implementation: ``"sdpa"`` (the default: the framework's fused attention) or ``"eager"`` (written out);
            both give the same numbers up to rounding.
        seed: Random seed of the initial weights, the same in every framework. Default: drawn from the ``params`` stream
            of ``rngs``, or 0. ``None`` leaves zeros that take no memory, for a caller that sets the weights.
        rngs: Random streams of the dropout, and of the weights if no ``seed`` is passed. Default: made from ``seed``.

    With attention dropout, in float64, and in float16 on a CPU, attention is always computed as ``"eager"``.

    On a mesh with explicit axes, call the model inside ``jax.sharding.auto_axes``: ``nnx.Embed`` needs it.

    >>> import jax.numpy as jnp
    >>> model = FlaxOpenAIGPTModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> model.eval()
    >>> model(jnp.array([[1, 2, 3]])).last_hidden_state.shape
    (1, 3, 6)
    """

    head = Head.NONE

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: DTypeLike | None = None,
        attn_implementation: str = "sdpa",
        seed: int | jax.Array | None = UNSET_SEED,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        super().__init__(config, dtype)
        self.attn_implementation = attn_implementation
        seed, rngs = seeded(seed, rngs)
        self.tokens_embed = embedding(config.vocab_size, config, self.dtype, "vocab")
        self.positions_embed = embedding(config.n_positions, config, self.dtype, "positions")
        self.drop = nnx.Dropout(config.embd_pdrop, rngs=rngs)
        self.h = nnx.List([Block(config, self.dtype, rngs) for _ in range(config.n_layer)])
        self.materialize(seed)

    def __call__(
        self,
        input_ids: TensorLike | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
    ) -> FlaxBaseModelOutput | Any:
        """Run the trunk. Arrays and lists become tensors; ids, masks and labels may have any integer dtype.

        In shapes, T is the number of tokens of a row, C is ``n_embd``, H is ``n_head`` and L is ``n_layer``.

        Args:
            input_ids: (..., T) integer token ids in [0, vocab_size); extra leading dimensions are kept. Pass either
                this or ``inputs_embeds``.
            attention_mask: (..., T), 1 for tokens to attend to and 0 for padding, on either side. With a cache
                of ``length`` filled slots, (..., length + T) is also accepted; only its last T columns are used.
            token_type_ids: (..., T) integers in [0, vocab_size); their rows of the *token* embedding are added.
            position_ids: (..., T), (1, T) or (T,) integers in [0, n_positions). Default: counted from
                ``attention_mask``, so that padding takes no position; without a mask, from 0, or from the length of the
                cache.
            head_mask: (H,) or (L, H) floats, by which the attention probabilities of each head are multiplied.
            inputs_embeds: (..., T, C) floats, used instead of ``input_ids``.
            output_attentions: Whether to return the attention probabilities. Attention is then computed as ``"eager"``,
                whatever ``attn_implementation`` is.
            output_hidden_states: Whether to return the embeddings and the output of every block.
            return_dict: Whether to return an output object; ``False`` returns a tuple of the fields that are set.
            past_key_values: The ``KVCache`` of the earlier tokens; positions and attention continue from there.
            use_cache: Whether to create a cache of ``n_positions`` slots, and return it, if none is passed. Default:
                false. A passed cache is always extended and returned.

        ``output_attentions``, ``output_hidden_states`` and ``return_dict`` default to the settings of the config.

        Returns:
            FlaxBaseModelOutput.

        Raises:
            InputError: An argument is invalid. Arguments are checked before work starts; under ``jit``, only shapes
                and dtypes are.
        """
        input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds = self._check(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            cache=past_key_values,
        )
        output_attentions = self._choose(output_attentions, "output_attentions")
        output_hidden_states = self._choose(output_hidden_states, "output_hidden_states")
        ids_shape = inputs_embeds.shape[:-1] if input_ids is None else input_ids.shape
        *leading, length = ids_shape
        attention_mask = to_rows(attention_mask)
        keys = queries = jnp.arange(length)  # (S,), (T,)
        cache = past_key_values
        if cache is None and use_cache:
            cache = KVCache.empty(self.config, math.prod(leading), dtype=self.dtype)
        if cache is not None:
            keys, queries = jnp.arange(cache.capacity), cache.length + queries
            cache = cache.extended(attention_mask, length)
            attention_mask = cache.attended
        position_ids = default_positions(attention_mask, queries) if position_ids is None else to_rows(position_ids)
        embedded = self.embed(to_rows(input_ids), to_rows(token_type_ids), position_ids, inputs_embeds)
        hidden_states = self.drop(embedded)  # (B, T, C)

        eager = output_attentions or self._needs_eager()
        allowed = None
        if eager or attention_mask is not None or cache is not None:
            allowed = attention_allowed(attention_mask, queries, keys)
        head_masks = [None] * len(self.h)
        if head_mask is not None:
            head_masks = jnp.broadcast_to(head_mask, (len(self.h), self.config.n_head))
        all_hidden_states, all_attentions, all_slots = [hidden_states], [], []

        def run_block(
            block: Block,
            hidden_states: jax.Array,
            allowed: jax.Array | None,
            head_mask: jax.Array | None,
            slots: Slots | None,
        ) -> tuple[jax.Array, jax.Array | None, tuple[jax.Array, jax.Array] | None]:
            return block(hidden_states, allowed, head_mask, eager, slots)

        # Unrolled: a scan over stacked layers compiles no faster (12 layers: 0.5 s) and runs about 5 % slower.
        for layer, (block, layer_head_mask) in enumerate(zip(self.h, head_masks, strict=True)):
            slots = None if cache is None else (cache.keys[layer], cache.values[layer], cache.length)
            arguments = (hidden_states, allowed, layer_head_mask, slots)
            if self.gradient_checkpointing and cache is None:
                hidden_states, probabilities, slots = nnx.remat(run_block)(block, *arguments)
            else:
                hidden_states, probabilities, slots = run_block(block, *arguments)
            all_hidden_states.append(hidden_states)
            all_attentions.append(probabilities)
            all_slots.append(slots)
        if cache is not None:
            all_keys, all_values = zip(*all_slots, strict=True)
            cache = cache._replace(keys=all_keys, values=all_values)

        output = FlaxBaseModelOutput(
            last_hidden_state=from_rows(hidden_states, leading),  # (..., T, C)
            past_key_values=cache,
            hidden_states=tuple(from_rows(x, leading) for x in all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def _needs_eager(self) -> bool:
        """Whether attention is written out: by choice, for dropout, or because the operation lacks the dtype."""
        layers = [block.attn.attn_dropout for block in self.h]
        dropout = any(layer.rate > 0 and not layer.deterministic for layer in layers)
        rounds_to_float32 = self.dtype == jnp.float64
        not_on_this_machine = self.dtype == jnp.float16 and jax.default_backend() == "cpu"
        return self.attn_implementation == "eager" or dropout or rounds_to_float32 or not_on_this_machine

    def embed(
        self,
        input_ids: jax.Array | None,
        token_type_ids: jax.Array | None,
        position_ids: jax.Array,
        inputs_embeds: jax.Array | None,
    ) -> jax.Array:
        """Sum of the embeddings of tokens, positions and token types, (B, T, C)."""
        if inputs_embeds is None:
            inputs_embeds = self.tokens_embed(input_ids)  # type: ignore[arg-type]  # one of both is passed
        inputs_embeds = inputs_embeds.reshape(-1, *inputs_embeds.shape[-2:]).astype(self.dtype)
        embedded = inputs_embeds + self.positions_embed(position_ids)
        return embedded if token_type_ids is None else embedded + self.tokens_embed(token_type_ids)


def default_positions(attention_mask: jax.Array | None, queries: jax.Array) -> jax.Array:
    """Count tokens: padding takes no position. (B, S) or ``None``, (T,) -> (B, T) or (1, T)."""
    if attention_mask is None:
        return queries[None]
    return jnp.maximum(attention_mask.astype(jnp.int32).cumsum(-1) - 1, 0)[:, queries]


def to_rows(ids: Rows) -> Rows:
    """Merge extra leading dimensions: (..., T) -> (B, T)."""
    return ids if ids is None else ids.reshape(-1, ids.shape[-1])


def from_rows(x: jax.Array, leading: Sequence[int]) -> jax.Array:
    """Bring the leading dimensions back: (B, T, C) -> (..., T, C)."""
    return x.reshape(*leading, *x.shape[1:])


def take_position(hidden_states: jax.Array, index: jax.Array) -> jax.Array:
    """The hidden state at one position of each sequence. (..., T, C), (...) -> (..., C)."""
    return jnp.take_along_axis(hidden_states, index[..., None, None], axis=-2)[..., 0, :]
