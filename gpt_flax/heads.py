"""The three heads and their losses (Radford et al. 2018, sections 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gpt_flax.cache import KVCache
from gpt_flax.generation import generate
from gpt_flax.modeling import FlaxOpenAIGPTModel, gelu, projection, take_position
from gpt_flax.outputs import (
    FlaxCausalLMOutput,
    FlaxOpenAIGPTDoubleHeadsModelOutput,
    FlaxSequenceClassifierOutput,
)
from gpt_flax.pretrained import UNSET_SEED, FlaxOpenAIGPTPreTrainedModel, describe, seeded
from gpt_flax.weights import TensorLike, wide
from gptcore.generation import GenerateOutput, Generates, GenerationConfig, GenerationSettings
from gptcore.settings import passes_on
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL, problem_type
from gptcore.spec.parameters import Head, summary_width


def identity(x: jax.Array) -> jax.Array:
    """The activation of a summary that has none."""
    return x


SUMMARY_ACTIVATIONS: dict[str | None, Callable[[jax.Array], jax.Array]] = {
    None: identity,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "gelu_new": gelu,
}


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the labels that are not ignored, 0 if all are ignored; at least in float32. (..., V), (...) -> ()."""
    labels = signed(labels)
    counted = labels != IGNORED_LABEL
    log_probabilities = jax.nn.log_softmax(wide(logits), axis=-1)
    picked = jnp.take_along_axis(log_probabilities, jnp.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
    return -jnp.where(counted, picked, 0).sum() / jnp.maximum(counted.sum(), 1).astype(picked.dtype)


def language_modeling_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Each position predicts the next label. (..., T, V), (..., T) -> ()."""
    return cross_entropy(logits[..., :-1, :], labels[..., 1:])


def classification_loss(logits: jax.Array, labels: jax.Array, kind: str) -> jax.Array:
    """Loss of the sequence classification head for a ``problem_type``. (B, K), labels -> ()."""
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = wide(logits)
    labels = labels.reshape(logits.shape).astype(logits.dtype)
    if kind == "regression":
        return ((logits - labels) ** 2).mean()
    return (jax.nn.softplus(logits) - labels * logits).mean()


def signed(ids: jax.Array) -> jax.Array:
    """Ids as int32: in an unsigned dtype -100 becomes another number, which may be a label."""
    return jnp.asarray(ids).astype(jnp.int32)


class LMHead(nnx.Module):
    """The logits of all tokens, from the token embedding: a tied weight is one parameter, used twice."""

    def __call__(self, hidden_states: jax.Array, tokens_embed: nnx.Embed) -> jax.Array:  # (..., T, C), the embedding
        return tokens_embed.attend(hidden_states)  # (..., T, V)


class SequenceSummary(nnx.Module):
    """One vector or score per sequence, from one position or the mean."""

    def __init__(self, config: OpenAIGPTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.summary_type = config.summary_type
        self.first_dropout = nnx.Dropout(config.summary_first_dropout, rngs=rngs)
        self.use_proj = config.summary_use_proj
        if self.use_proj:
            self.summary = projection(config.n_embd, summary_width(config), dtype, ("embed", "choices"))
        self.activation = config.summary_activation  # by name: JAX's functions cannot be pickled
        self.last_dropout = nnx.Dropout(config.summary_last_dropout, rngs=rngs)

    def __call__(self, hidden_states: jax.Array, cls_index: jax.Array | None = None) -> jax.Array:  # (..., T, C), (...)
        pooled = self.first_dropout(self.pool(hidden_states, cls_index))  # (..., C)
        projected = self.summary(pooled) if self.use_proj else pooled
        return self.last_dropout(SUMMARY_ACTIVATIONS[self.activation](projected))

    def pool(self, hidden_states: jax.Array, cls_index: jax.Array | None) -> jax.Array:
        if self.summary_type == "mean":
            return hidden_states.mean(-2)
        if self.summary_type == "first":
            return hidden_states[..., 0, :]
        if self.summary_type == "last" or cls_index is None:
            return hidden_states[..., -1, :]
        return take_position(hidden_states, cls_index)


class FlaxOpenAIGPTLMHeadModel(Generates, FlaxOpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling head tied to the token embedding.

    The constructor takes the same arguments as that of ``FlaxOpenAIGPTModel``.

    >>> import jax.numpy as jnp
    >>> model = FlaxOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> model.eval()
    >>> ids = jnp.array([[1, 2, 3]])
    >>> output = model(ids, labels=ids)
    >>> output.logits.shape, output.loss.shape
    ((1, 3, 11), ())
    """

    head = Head.LM

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
        seed, rngs = seeded(seed, rngs)
        self.transformer = FlaxOpenAIGPTModel(
            config, dtype=dtype, attn_implementation=attn_implementation, seed=None, rngs=rngs
        )
        self.lm_head = LMHead()
        self.materialize(seed)

    def __call__(
        self,
        input_ids: TensorLike | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
    ) -> FlaxCausalLMOutput | Any:
        """Run the model. The arguments are those of ``FlaxOpenAIGPTModel.__call__``, and these:

        Args:
            labels: (..., T) integer token ids. The model shifts them, so pass ``input_ids``. -100 is ignored; if all
                labels are -100, the loss is 0.

        Returns:
            FlaxCausalLMOutput.
        """
        input_ids, inputs_embeds, labels = self._check(input_ids=input_ids, inputs_embeds=inputs_embeds, labels=labels)
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags, past_key_values=past_key_values, use_cache=use_cache)
        logits = self.lm_head(output.last_hidden_state, tokens_embed=self.transformer.tokens_embed)
        output = FlaxCausalLMOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    _own_forward = __call__  # if a subclass overrides it, generate calls the override

    @passes_on(GenerationConfig)
    def generate(
        self,
        input_ids: TensorLike,
        attention_mask: TensorLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Any = None,
        tokenizer: Any = None,
        **settings: Unpack[GenerationSettings],
    ) -> jax.Array | GenerateOutput:
        """Continue prompts, with a KV cache and without dropout; the same ids in every framework.

        Greedy search and sampling compile to one program, and also work inside ``jax.jit``. The result then always has
        ``max_new_tokens`` new columns, with padding after the end of a row. Settings that run in Python, such as
        ``num_beams``, ``repetition_penalty``, ``stop_strings`` and ``streamer``, raise an error there. ``seed`` may be
        traced.

        Args:
            input_ids: (B, T) integer token ids of the prompts.
            attention_mask: (B, T), 1 for tokens and 0 for padding, on either side. Default: 0 where the id is
                ``pad_token_id``, unless that id also ends a text; else 1.
            generation_config: A ``GenerationConfig``. Default: ``self.generation_config``.
            streamer: An object whose ``put`` gets the prompt and each new token, and whose ``end`` is called after
                the last one. For one row only.
            tokenizer: A tokenizer that decodes ids; needed for ``stop_strings``.
            settings: Settings of ``GenerationConfig``; they override those of ``generation_config``.

        Returns:
            Ids (B * num_return_sequences, T + N): the prompt, then N new tokens; rows that end earlier are padded. With
            ``return_dict_in_generate=True``, a ``GenerateOutput``.

        Raises:
            ConfigError, InputError: A setting or the prompt is invalid, or settings contradict each other.
        """
        return generate(self, input_ids, attention_mask, generation_config, streamer, tokenizer, settings)


class FlaxOpenAIGPTDoubleHeadsModel(FlaxOpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling and a multiple-choice head.

    The constructor takes the same arguments as that of ``FlaxOpenAIGPTModel``.

    >>> import jax.numpy as jnp
    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    >>> model = FlaxOpenAIGPTDoubleHeadsModel(config)
    >>> choices = jnp.array([[[1, 2, 3], [1, 2, 4]]])  # one example, two choices
    >>> model(choices, mc_token_ids=jnp.array([[2, 2]])).mc_logits.shape
    (1, 2)
    """

    head = Head.DOUBLE_HEADS

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
        seed, rngs = seeded(seed, rngs)
        self.transformer = FlaxOpenAIGPTModel(
            config, dtype=dtype, attn_implementation=attn_implementation, seed=None, rngs=rngs
        )
        self.lm_head = LMHead()
        self.multiple_choice_head = SequenceSummary(config, self.dtype, rngs)
        self.materialize(seed)

    def __call__(
        self,
        input_ids: TensorLike | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        mc_token_ids: TensorLike | None = None,
        labels: TensorLike | None = None,
        mc_labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> FlaxOpenAIGPTDoubleHeadsModelOutput | Any:
        """Run the model, without a cache. The arguments are those of ``FlaxOpenAIGPTModel.__call__``, and these:

        With N choices per example, ``input_ids`` is (..., N, T).

        Args:
            mc_token_ids: (..., N) integer position of the classification token in each choice. Default: the last
                position. Has no effect unless ``config.summary_type`` is ``"cls_index"``, its default.
            labels: (..., N, T) integer token ids. The model shifts them. -100 is ignored.
            mc_labels: (...) integer index of the right choice; -100 is ignored.

        Returns:
            FlaxOpenAIGPTDoubleHeadsModelOutput.
        """
        input_ids, inputs_embeds, mc_token_ids, labels, mc_labels = self._check(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            mc_token_ids=mc_token_ids,
            labels=labels,
            mc_labels=mc_labels,
        )
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags)
        logits = self.lm_head(output.last_hidden_state, tokens_embed=self.transformer.tokens_embed)
        mc_logits = self.multiple_choice_head(output.last_hidden_state, mc_token_ids)  # (..., N, M)
        if mc_logits.shape[-1] == 1:
            mc_logits = mc_logits[..., 0]  # (..., N)
        output = FlaxOpenAIGPTDoubleHeadsModelOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            mc_loss=None if mc_labels is None else cross_entropy(mc_logits, mc_labels),
            logits=logits,
            mc_logits=mc_logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()


class FlaxOpenAIGPTForSequenceClassification(FlaxOpenAIGPTPreTrainedModel):
    """The trunk with a linear layer on the last token of each sequence.

    The last token is the last that ``attention_mask`` attends to; without a mask, the last that is not
    ``config.pad_token_id``; without both, the last column.

    The constructor takes the same arguments as that of ``FlaxOpenAIGPTModel``.

    >>> import jax.numpy as jnp
    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2, num_labels=3)
    >>> model = FlaxOpenAIGPTForSequenceClassification(config)
    >>> model.eval()
    >>> model(jnp.array([[1, 2, 3]]), labels=jnp.array([2])).logits.shape
    (1, 3)
    """

    head = Head.SEQUENCE_CLASSIFICATION

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
        seed, rngs = seeded(seed, rngs)
        self.transformer = FlaxOpenAIGPTModel(
            config, dtype=dtype, attn_implementation=attn_implementation, seed=None, rngs=rngs
        )
        self.score = projection(config.n_embd, config.num_labels, self.dtype, ("embed", "labels"), use_bias=False)
        self.materialize(seed)

    def __call__(
        self,
        input_ids: TensorLike | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> FlaxSequenceClassifierOutput | Any:
        """Run the model, without a cache. The arguments are those of ``FlaxOpenAIGPTModel.__call__``, and these:

        Args:
            labels: (B,) integer class indices, where -100 is ignored, or (B, K) floats for several labels at once or
                for regression, with K = ``num_labels``; also (B,) floats if K is 1. ``config.problem_type`` selects the
                loss. If it is unset, the loss is that of regression if K is 1; else integers are classes and floats are
                several labels at once.

        Returns:
            FlaxSequenceClassifierOutput.
        """
        input_ids, attention_mask, inputs_embeds, labels = self._check(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, labels=labels
        )
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags)
        last = self.last_position(input_ids, attention_mask)
        hidden_states = output.last_hidden_state
        pooled = hidden_states[..., -1, :] if last is None else take_position(hidden_states, last)
        logits = self.score(pooled)  # (B, K)
        loss = None
        if labels is not None:
            loss = classification_loss(logits, labels, problem_type(self.config, describe(labels)))
        output = FlaxSequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def last_position(self, input_ids: jax.Array | None, attention_mask: jax.Array | None) -> jax.Array | None:
        """Index of each row's last token, (B,): by the mask, else by ``pad_token_id``; ``None`` for the last column."""
        if attention_mask is not None:
            present = attention_mask.astype(bool)
        elif input_ids is not None and self.config.pad_token_id is not None:
            present = signed(input_ids) != self.config.pad_token_id
        else:
            return None
        return (present * jax.lax.broadcasted_iota(jnp.int32, present.shape, present.ndim - 1)).max(-1)
