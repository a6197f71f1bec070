"""The three heads and their losses (Radford et al. 2018, sections 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import torch
from torch import nn
from torch.nn import functional

from gpt_torch.cache import KVCache
from gpt_torch.generation import generate
from gpt_torch.modeling import OpenAIGPTModel, gelu, take_position
from gpt_torch.outputs import CausalLMOutput, OpenAIGPTDoubleHeadsModelOutput, SequenceClassifierOutput
from gpt_torch.pretrained import OpenAIGPTPreTrainedModel, describe
from gpt_torch.projection import linear
from gpt_torch.weights import TensorLike, wide
from gptcore.generation import GenerateOutput, Generates, GenerationConfig, GenerationSettings
from gptcore.settings import passes_on
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL, problem_type
from gptcore.spec.parameters import Head, summary_width


def identity(x: torch.Tensor) -> torch.Tensor:
    """The activation of a summary that has none."""
    return x


SUMMARY_ACTIVATIONS: dict[str | None, Callable[[torch.Tensor], torch.Tensor]] = {
    None: identity,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "gelu_new": gelu,
}


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the labels that are not ignored, 0 if all are ignored; at least in float32. (..., V), (...) -> ()."""
    logits, labels = wide(logits).reshape(-1, logits.size(-1)), labels.flatten().long()
    total = functional.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)


def language_modeling_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Each position predicts the next label. (..., T, V), (..., T) -> ()."""
    return cross_entropy(logits[..., :-1, :], labels[..., 1:])


def classification_loss(logits: torch.Tensor, labels: torch.Tensor, kind: str) -> torch.Tensor:
    """Loss of the sequence classification head for a ``problem_type``. (B, K), labels -> ()."""
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = wide(logits)
    labels = labels.reshape(logits.shape).to(logits.dtype)
    if kind == "regression":
        return functional.mse_loss(logits, labels)
    return functional.binary_cross_entropy_with_logits(logits, labels)


class LMHead(nn.Module):
    """The logits of all tokens, from the token embedding: a tied weight is one parameter, used twice.

    If another module replaces the embedding, such as an adapter of PEFT, or accelerate offloads its weight, the head
    looks up the rows of all tokens instead of reading the weight.
    """

    def forward(self, hidden_states: torch.Tensor, tokens_embed: Any) -> torch.Tensor:  # (..., T, C), the embedding
        weight = tokens_embed.weight
        if not isinstance(tokens_embed, nn.Embedding) or weight.is_meta:
            weight = tokens_embed(torch.arange(len(weight), device=hidden_states.device))
        return linear(hidden_states, weight)  # (..., T, V)


class SequenceSummary(nn.Module):
    """One vector or score per sequence, from one position or the mean."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.summary_type = config.summary_type
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.summary = nn.Linear(config.n_embd, summary_width(config)) if config.summary_use_proj else nn.Identity()
        self.activation = SUMMARY_ACTIVATIONS[config.summary_activation]
        self.last_dropout = nn.Dropout(config.summary_last_dropout)

    def forward(
        self, hidden_states: torch.Tensor, cls_index: torch.Tensor | None = None
    ) -> torch.Tensor:  # (..., T, C), (...)
        pooled = self.pool(hidden_states, cls_index)  # (..., C)
        return self.last_dropout(self.activation(self.summary(self.first_dropout(pooled))))

    def pool(self, hidden_states: torch.Tensor, cls_index: torch.Tensor | None) -> torch.Tensor:
        if self.summary_type == "mean":
            return hidden_states.mean(-2)
        if self.summary_type == "first":
            return hidden_states[..., 0, :]
        if self.summary_type == "last" or cls_index is None:
            return hidden_states[..., -1, :]
        return take_position(hidden_states, cls_index)


class OpenAIGPTLMHeadModel(Generates, OpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling head tied to the token embedding.

    The constructor takes the same arguments as that of ``OpenAIGPTModel``.

    >>> import torch
    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    >>> model = OpenAIGPTLMHeadModel(config).eval()
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> output = model(ids, labels=ids)
    >>> output.logits.shape, output.loss.shape
    (torch.Size([1, 3, 11]), torch.Size([]))
    """

    head = Head.LM

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
    ) -> None:
        super().__init__(config)
        with torch.device("meta"):
            self.transformer = OpenAIGPTModel(config, attn_implementation=attn_implementation, seed=None)
            self.lm_head = LMHead()
        self.materialize(dtype, seed)

    def forward(
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
    ) -> CausalLMOutput | Any:
        """Run the model. The arguments are those of ``OpenAIGPTModel.forward``, and these:

        Args:
            labels: (..., T) integer token ids. The model shifts them, so pass ``input_ids``. -100 is ignored; if all
                labels are -100, the loss is 0.

        Returns:
            CausalLMOutput.
        """
        input_ids, inputs_embeds, labels = self._check(input_ids=input_ids, inputs_embeds=inputs_embeds, labels=labels)
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags, past_key_values=past_key_values, use_cache=use_cache)
        logits = self.lm_head(output.last_hidden_state, self.transformer.tokens_embed)
        output = CausalLMOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    _own_forward = forward  # if a subclass overrides it, generate calls the override

    @passes_on(GenerationConfig)
    def generate(
        self,
        input_ids: TensorLike,
        attention_mask: TensorLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Any = None,
        tokenizer: Any = None,
        **settings: Unpack[GenerationSettings],
    ) -> torch.Tensor | GenerateOutput:
        """Continue prompts, with a KV cache and without dropout; the same ids in every framework.

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

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: KVCache | None = None,
        attention_mask: torch.Tensor | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """The arguments of the model's next call in another library's loop.

        ``input_ids`` then holds only the ids that the cache lacks.
        """
        start = 0 if past_key_values is None else past_key_values.length
        return {
            "input_ids": input_ids[:, start:],
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
            **others,
        }


class OpenAIGPTDoubleHeadsModel(OpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling and a multiple-choice head.

    The constructor takes the same arguments as that of ``OpenAIGPTModel``.

    >>> import torch
    >>> model = OpenAIGPTDoubleHeadsModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> choices = torch.tensor([[[1, 2, 3], [1, 2, 4]]])  # one example, two choices
    >>> model.eval()(choices, mc_token_ids=torch.tensor([[2, 2]])).mc_logits.shape
    torch.Size([1, 2])
    """

    head = Head.DOUBLE_HEADS

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
    ) -> None:
        super().__init__(config)
        with torch.device("meta"):
            self.transformer = OpenAIGPTModel(config, attn_implementation=attn_implementation, seed=None)
            self.lm_head = LMHead()
            self.multiple_choice_head = SequenceSummary(config)
        self.materialize(dtype, seed)

    def forward(
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
    ) -> OpenAIGPTDoubleHeadsModelOutput | Any:
        """Run the model, without a cache. The arguments are those of ``OpenAIGPTModel.forward``, and these:

        With N choices per example, ``input_ids`` is (..., N, T).

        Args:
            mc_token_ids: (..., N) integer position of the classification token in each choice. Default: the last
                position. Has no effect unless ``config.summary_type`` is ``"cls_index"``, its default.
            labels: (..., N, T) integer token ids. The model shifts them. -100 is ignored.
            mc_labels: (...) integer index of the right choice; -100 is ignored.

        Returns:
            OpenAIGPTDoubleHeadsModelOutput.
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
        logits = self.lm_head(output.last_hidden_state, self.transformer.tokens_embed)
        mc_logits = self.multiple_choice_head(output.last_hidden_state, mc_token_ids).squeeze(-1)  # (..., N)
        output = OpenAIGPTDoubleHeadsModelOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            mc_loss=None if mc_labels is None else cross_entropy(mc_logits, mc_labels),
            logits=logits,
            mc_logits=mc_logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()


class OpenAIGPTForSequenceClassification(OpenAIGPTPreTrainedModel):
    """The trunk with a linear layer on the last token of each sequence.

    The last token is the last that ``attention_mask`` attends to; without a mask, the last that is not
    ``config.pad_token_id``; without both, the last column.

    The constructor takes the same arguments as that of ``OpenAIGPTModel``.

    >>> import torch
    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2, num_labels=3)
    >>> model = OpenAIGPTForSequenceClassification(config).eval()
    >>> model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([2])).logits.shape
    torch.Size([1, 3])
    """

    head = Head.SEQUENCE_CLASSIFICATION

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
    ) -> None:
        super().__init__(config)
        with torch.device("meta"):
            self.transformer = OpenAIGPTModel(config, attn_implementation=attn_implementation, seed=None)
            self.score = nn.Linear(config.n_embd, config.num_labels, bias=False)
        self.materialize(dtype, seed)

    def forward(
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
    ) -> SequenceClassifierOutput | Any:
        """Run the model, without a cache. The arguments are those of ``OpenAIGPTModel.forward``, and these:

        Args:
            labels: (B,) integer class indices, where -100 is ignored, or (B, K) floats for several labels at once or
                for regression, with K = ``num_labels``; also (B,) floats if K is 1. ``config.problem_type`` selects the
                loss. If it is unset, the loss is that of regression if K is 1; else integers are classes and floats are
                several labels at once.

        Returns:
            SequenceClassifierOutput.
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
        output = SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def last_position(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
        """Index of each row's last token, (B,): by the mask, else by ``pad_token_id``; ``None`` for the last column."""
        if attention_mask is not None:
            present = attention_mask.bool()
        elif input_ids is not None and self.config.pad_token_id is not None:
            present = input_ids != self.config.pad_token_id
        else:
            return None
        return (present * torch.arange(present.size(-1), device=present.device)).amax(-1)
