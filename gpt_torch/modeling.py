"""The OpenAI GPT forward pass in PyTorch (Radford et al. 2018, section 3.1), top to bottom.

``B`` batch, ``T`` query positions, ``S`` key positions, ``C`` n_embd, ``H`` heads, ``D`` head size, ``V`` vocabulary,
``P`` n_positions, ``L`` layers. Comments such as ``# (B, T, C)`` give the shape of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gpt_torch.cache import KVCache, write
from gpt_torch.outputs import BaseModelOutput
from gpt_torch.pretrained import OpenAIGPTPreTrainedModel
from gpt_torch.projection import Projection
from gpt_torch.quantization import Int8Embedding
from gpt_torch.weights import TensorLike
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, feed_forward_width

Slots = tuple[torch.Tensor, torch.Tensor, int]  # keys and values of a layer, and the number of filled slots
Rows = TypeVar("Rows", torch.Tensor, None)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU in the tanh form of OpenAI's code."""
    return functional.gelu(x, approximate="tanh")


# Functions with a name, so that a model can be pickled.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": gelu,
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
}


def attention_allowed(attention_mask: torch.Tensor | None, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Which keys each query may read, (B, 1, T, S) bool: no future tokens and no padding, but at least one key.

    A query that could read nothing (padding on the left) reads itself, so that no softmax is over an empty set.
    ``queries`` (T,) and ``keys`` (S,) are positions in the sequence; ``attention_mask`` (B, S) is 0 for padding.
    """
    allowed = keys <= queries[:, None]  # (T, S)
    if attention_mask is None:
        return allowed[None, None]  # (1, 1, T, S)
    allowed = allowed & attention_mask.bool()[:, None, :]  # (B, T, S)
    reads_nothing = ~allowed.any(-1, keepdim=True)
    itself = keys == queries[:, None]
    return (allowed | (reads_nothing & itself))[:, None]  # (B, 1, T, S)


def eager_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, allowed: torch.Tensor, dropout_p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention written out: the context (B, H, T, D) and the probabilities (B, H, T, S).

    ``query`` is (B, H, T, D), ``key`` and ``value`` are (B, H, S, D).
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.size(-1))  # (B, H, T, S)
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    wide = torch.promote_types(scores.dtype, torch.float32)
    probabilities = scores.softmax(-1, dtype=wide).to(scores.dtype)
    probabilities = functional.dropout(probabilities, dropout_p)
    return probabilities @ value, probabilities


def sdpa_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, allowed: torch.Tensor | None, dropout_p: float
) -> torch.Tensor:
    """As ``eager_attention``, but by PyTorch's own operation and without returning the probabilities.

    ``allowed=None`` is the plain causal mask.
    """
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=allowed,
        is_causal=True if allowed is None and query.size(-2) > 1 else False,  # noqa: SIM210  # a bool where sizes are symbols
        dropout_p=dropout_p,
        scale=1 / math.sqrt(query.size(-1)),
    )


def embedding(rows: int, config: OpenAIGPTConfig) -> nn.Embedding:
    """A table of ``rows`` vectors; its initial values come from the parameter table."""
    return nn.Embedding.from_pretrained(torch.empty(rows, config.n_embd), freeze=False)


class Attention(nn.Module):
    """Causal self-attention: project, split heads, attend, merge heads, project."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        hidden_states: torch.Tensor,  # (B, T, C)
        allowed: torch.Tensor | None,  # (B, 1, T, S)
        head_mask: torch.Tensor | None = None,  # (H,)
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        query, key, value = (self.split_heads(x) for x in self.c_attn(hidden_states).chunk(3, dim=-1))
        if slots is not None:
            past_keys, past_values, length = slots
            key, value = write(past_keys, key, length), write(past_values, value, length)
        dropout_p = self.attn_dropout.p if self.attn_dropout.training else 0.0
        probabilities = None
        if eager:
            context, probabilities = eager_attention(query, key, value, allowed, dropout_p)  # type: ignore[arg-type]  # never None here
        else:
            context = sdpa_attention(query, key, value, allowed, dropout_p)
        if head_mask is not None:
            scale = head_mask.to(context.dtype)[:, None, None]
            context = context * scale
            probabilities = None if probabilities is None else probabilities * scale
        return self.resid_dropout(self.c_proj(self.merge_heads(context))), probabilities

    def split_heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.n_head, -1)).transpose(1, 2)  # (B, H, T, D)

    def merge_heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2).flatten(-2)  # (B, T, C)


class MLP(nn.Module):
    """The position-wise feed-forward network."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.afn]
        self.c_fc = Projection(config.n_embd, feed_forward_width(config))
        self.c_proj = Projection(feed_forward_width(config), config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.c_proj(self.activation(self.c_fc(hidden_states))))


# Post-LayerNorm, as in GPT-1 (GPT-2 normalises before each sub-layer; we do not):
#   x ---+-- attn --(+)-- ln_1 ---+-- mlp --(+)-- ln_2 --> out
#        +-----------^            +----------^
class Block(nn.Module):
    """One layer of the trunk."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self,
        hidden_states: torch.Tensor,
        allowed: torch.Tensor | None,
        head_mask: torch.Tensor | None = None,
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        attended, probabilities = self.attn(hidden_states, allowed, head_mask, eager, slots)
        hidden_states = self.ln_1(hidden_states + attended)
        return self.ln_2(hidden_states + self.mlp(hidden_states)), probabilities


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """The trunk: embeddings and blocks, no final LayerNorm.

    Args:
        config: The config, which is not changed.
        dtype: Dtype of all weights: ``float32``, ``float64``, ``bfloat16`` or ``float16``. Default:
            ``torch.get_default_dtype()``.
        attn_implementation: ``"sdpa"`` (the default: the framework's fused attention) or ``"eager"`` (written out);
            both give the same numbers up to rounding.
        seed: Random seed of the initial weights, the same in every framework; default 0. The framework's own seed has
            no effect. ``None`` leaves the weights unset, for a caller that sets them.

    >>> import torch
    >>> model = OpenAIGPTModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)).eval()
    >>> model(torch.tensor([[1, 2, 3]])).last_hidden_state.shape
    torch.Size([1, 3, 6])
    """

    head = Head.NONE

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
    ) -> None:
        super().__init__(config)
        self.attn_implementation = attn_implementation
        self.checkpointing_options: dict[str, Any] = {}
        with torch.device("meta"):
            self.tokens_embed: nn.Embedding | Int8Embedding = embedding(config.vocab_size, config)
            self.positions_embed = embedding(config.n_positions, config)
            self.drop = nn.Dropout(config.embd_pdrop)
            self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.materialize(dtype, seed)

    def forward(
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
    ) -> BaseModelOutput | Any:
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
            BaseModelOutput.

        Raises:
            InputError: An argument is invalid. Arguments are checked before work starts; under ``torch.compile``, they
                are not checked.
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
        cache, start = past_key_values, 0
        if cache is None and use_cache:
            cache = KVCache.empty(self.config, math.prod(leading), dtype=self.dtype, device=self.device)
        if cache is not None:
            start, cache = cache.length, cache.extended(attention_mask, length)
            attention_mask = None if cache.attended is None else cache.attended[:, : cache.length]
        keys = torch.arange(start + length, device=self.device)  # (S,)
        queries = keys[start:]  # (T,)
        position_ids = default_positions(attention_mask, queries) if position_ids is None else to_rows(position_ids)
        embedded = self.embed(to_rows(input_ids), to_rows(token_type_ids), position_ids, inputs_embeds)
        hidden_states = self.drop(embedded)  # (B, T, C)

        eager = output_attentions or self.attn_implementation == "eager"
        allowed = None
        if eager or attention_mask is not None or (start and length > 1):
            allowed = attention_allowed(attention_mask, queries, keys)
        head_masks = [None] * len(self.h) if head_mask is None else head_mask.expand(len(self.h), -1)
        all_hidden_states, all_attentions = [hidden_states], []
        for layer, (block, layer_head_mask) in enumerate(zip(self.h, head_masks, strict=True)):
            slots = None if cache is None else (cache.keys[layer], cache.values[layer], cache.length)
            arguments = (hidden_states, allowed, layer_head_mask, eager, slots)
            if self.gradient_checkpointing and self.training:
                hidden_states, probabilities = checkpoint(block, *arguments, **self.checkpointing_options)
            else:
                hidden_states, probabilities = block(*arguments)
            all_hidden_states.append(hidden_states)
            all_attentions.append(probabilities)

        output = BaseModelOutput(
            last_hidden_state=from_rows(hidden_states, leading),  # (..., T, C)
            past_key_values=cache,
            hidden_states=tuple(from_rows(x, leading) for x in all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def embed(
        self,
        input_ids: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
        position_ids: torch.Tensor,
        inputs_embeds: torch.Tensor | None,
    ) -> torch.Tensor:
        """Sum of the embeddings of tokens, positions and token types, (B, T, C)."""
        if inputs_embeds is None:
            inputs_embeds = self.tokens_embed(input_ids)
        inputs_embeds = inputs_embeds.reshape(-1, *inputs_embeds.shape[-2:]).to(self.dtype)
        embedded = inputs_embeds + self.positions_embed(position_ids)
        return embedded if token_type_ids is None else embedded + self.tokens_embed(token_type_ids)


def default_positions(attention_mask: torch.Tensor | None, queries: torch.Tensor) -> torch.Tensor:
    """Count tokens: padding takes no position. (B, S) or ``None``, (T,) -> (B, T) or (T,)."""
    if attention_mask is None:
        return queries
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, queries]


def to_rows(ids: Rows) -> Rows:
    """Merge extra leading dimensions: (..., T) -> (B, T)."""
    return ids if ids is None else ids.reshape(-1, ids.size(-1))


def from_rows(x: torch.Tensor, leading: Sequence[int]) -> torch.Tensor:
    """Bring the leading dimensions back: (B, T, C) -> (..., T, C)."""
    return x.unflatten(0, leading)


def take_position(hidden_states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The hidden state at one position of each sequence. (..., T, C), (...) -> (..., C)."""
    return torch.take_along_dim(hidden_states, index.long()[..., None, None], dim=-2).squeeze(-2)
