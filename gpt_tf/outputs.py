"""What the model calls return; fields and behaviour are those of ``gptcore.spec.outputs.ModelOutput``."""

from __future__ import annotations

from typing import Any

import optree
import tensorflow as tf

from gpt_tf.cache import KVCache
from gptcore.spec import outputs


class TFBaseModelOutput(outputs.ModelOutput):
    """``last_hidden_state`` (..., T, C).

    ``hidden_states``: L + 1 tensors of that shape; ``attentions``: L tensors (B, H, T, S).

    With a cache, S is the number of its slots; the probabilities of empty slots are 0.
    """

    fields = outputs.BASE_FIELDS
    last_hidden_state: tf.Tensor
    past_key_values: KVCache | None
    hidden_states: tuple[tf.Tensor, ...] | None
    attentions: tuple[tf.Tensor, ...] | None


class TFCausalLMOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (..., T, V); ``hidden_states`` and ``attentions`` as in ``TFBaseModelOutput``."""

    fields = outputs.CAUSAL_LM_FIELDS
    loss: tf.Tensor | None
    logits: tf.Tensor
    past_key_values: KVCache | None
    hidden_states: tuple[tf.Tensor, ...] | None
    attentions: tuple[tf.Tensor, ...] | None


class TFOpenAIGPTDoubleHeadsModelOutput(outputs.ModelOutput):
    """``loss`` and ``mc_loss`` (), ``logits`` (..., N, T, V), ``mc_logits`` (..., N) for N choices.

    ``hidden_states`` and ``attentions`` as in ``TFBaseModelOutput``.
    """

    fields = outputs.DOUBLE_HEADS_FIELDS
    loss: tf.Tensor | None
    mc_loss: tf.Tensor | None
    logits: tf.Tensor
    mc_logits: tf.Tensor
    hidden_states: tuple[tf.Tensor, ...] | None
    attentions: tuple[tf.Tensor, ...] | None


class TFSequenceClassifierOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (B, K); ``hidden_states`` and ``attentions`` as in ``TFBaseModelOutput``."""

    fields = outputs.SEQUENCE_CLASSIFIER_FIELDS
    loss: tf.Tensor | None
    logits: tf.Tensor
    hidden_states: tuple[tf.Tensor, ...] | None
    attentions: tuple[tf.Tensor, ...] | None


def _register(output_class: type[outputs.ModelOutput]) -> None:
    """Let Keras see the tensors inside an output."""

    # predict and functional models look inside.
    def flatten(output: outputs.ModelOutput) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        return list(output.values()), tuple(output), tuple(output)

    def unflatten(names: tuple[str, ...], values: Any) -> outputs.ModelOutput:
        return output_class(**dict(zip(names, values, strict=True)))

    # optree's own types allow only collections of text.
    optree.register_pytree_node(output_class, flatten, unflatten, namespace="keras")  # type: ignore[arg-type]


for _output_class in (
    TFBaseModelOutput,
    TFCausalLMOutput,
    TFOpenAIGPTDoubleHeadsModelOutput,
    TFSequenceClassifierOutput,
):
    _register(_output_class)
