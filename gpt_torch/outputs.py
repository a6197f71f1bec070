"""What the model calls return; fields and behaviour are those of ``gptcore.spec.outputs.ModelOutput``."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree

from gpt_torch.cache import KVCache
from gptcore.spec import outputs


class BaseModelOutput(outputs.ModelOutput):
    """``last_hidden_state`` (..., T, C).

    ``hidden_states``: L + 1 tensors of that shape; ``attentions``: L tensors (B, H, T, S).
    """

    fields = outputs.BASE_FIELDS
    last_hidden_state: torch.Tensor
    past_key_values: KVCache | None
    hidden_states: tuple[torch.Tensor, ...] | None
    attentions: tuple[torch.Tensor, ...] | None


class CausalLMOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (..., T, V); ``hidden_states`` and ``attentions`` as in ``BaseModelOutput``."""

    fields = outputs.CAUSAL_LM_FIELDS
    loss: torch.Tensor | None
    logits: torch.Tensor
    past_key_values: KVCache | None
    hidden_states: tuple[torch.Tensor, ...] | None
    attentions: tuple[torch.Tensor, ...] | None


class OpenAIGPTDoubleHeadsModelOutput(outputs.ModelOutput):
    """``loss`` and ``mc_loss`` (), ``logits`` (..., N, T, V), ``mc_logits`` (..., N) for N choices.

    ``hidden_states`` and ``attentions`` as in ``BaseModelOutput``.
    """

    fields = outputs.DOUBLE_HEADS_FIELDS
    loss: torch.Tensor | None
    mc_loss: torch.Tensor | None
    logits: torch.Tensor
    mc_logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None
    attentions: tuple[torch.Tensor, ...] | None


class SequenceClassifierOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (B, K); ``hidden_states`` and ``attentions`` as in ``BaseModelOutput``."""

    fields = outputs.SEQUENCE_CLASSIFIER_FIELDS
    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None
    attentions: tuple[torch.Tensor, ...] | None


def _register(output_class: type[outputs.ModelOutput]) -> None:
    """Let PyTorch see the tensors inside an output."""

    # torch.export, functional transforms and distributed wrappers look inside.
    def flatten(output: outputs.ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
        return list(output.values()), tuple(output)

    def unflatten(values: Any, names: tuple[str, ...]) -> outputs.ModelOutput:
        return output_class(**dict(zip(names, values, strict=True)))

    _pytree.register_pytree_node(output_class, flatten, unflatten, serialized_type_name=output_class.__name__)


for _output_class in (
    BaseModelOutput,
    CausalLMOutput,
    OpenAIGPTDoubleHeadsModelOutput,
    SequenceClassifierOutput,
):
    _register(_output_class)
