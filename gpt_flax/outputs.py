"""What the model calls return; fields and behaviour are those of ``gptcore.spec.outputs.ModelOutput``."""

from __future__ import annotations

import json
from typing import Any

import jax
from jax import export

from gpt_flax.cache import KVCache
from gptcore.spec import outputs


class FlaxBaseModelOutput(outputs.ModelOutput):
    """``last_hidden_state`` (..., T, C).

    ``hidden_states``: L + 1 tensors of that shape; ``attentions``: L tensors (B, H, T, S).

    With a cache, S is the number of its slots; the probabilities of empty slots are 0.
    """

    fields = outputs.BASE_FIELDS
    last_hidden_state: jax.Array
    past_key_values: KVCache | None
    hidden_states: tuple[jax.Array, ...] | None
    attentions: tuple[jax.Array, ...] | None


class FlaxCausalLMOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (..., T, V); ``hidden_states`` and ``attentions`` as in ``FlaxBaseModelOutput``."""

    fields = outputs.CAUSAL_LM_FIELDS
    loss: jax.Array | None
    logits: jax.Array
    past_key_values: KVCache | None
    hidden_states: tuple[jax.Array, ...] | None
    attentions: tuple[jax.Array, ...] | None


class FlaxOpenAIGPTDoubleHeadsModelOutput(outputs.ModelOutput):
    """``loss`` and ``mc_loss`` (), ``logits`` (..., N, T, V), ``mc_logits`` (..., N) for N choices.

    ``hidden_states`` and ``attentions`` as in ``FlaxBaseModelOutput``.
    """

    fields = outputs.DOUBLE_HEADS_FIELDS
    loss: jax.Array | None
    mc_loss: jax.Array | None
    logits: jax.Array
    mc_logits: jax.Array
    hidden_states: tuple[jax.Array, ...] | None
    attentions: tuple[jax.Array, ...] | None


class FlaxSequenceClassifierOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (B, K); ``hidden_states`` and ``attentions`` as in ``FlaxBaseModelOutput``."""

    fields = outputs.SEQUENCE_CLASSIFIER_FIELDS
    loss: jax.Array | None
    logits: jax.Array
    hidden_states: tuple[jax.Array, ...] | None
    attentions: tuple[jax.Array, ...] | None


def _register(output_class: type[outputs.ModelOutput]) -> None:
    """Let JAX see the arrays inside an output."""

    # jit, vmap, grad and programs of jax.export look inside.
    def flatten(output: outputs.ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
        return [(jax.tree_util.DictKey(name), value) for name, value in output.items()], tuple(output)

    def unflatten(names: tuple[str, ...], values: Any) -> outputs.ModelOutput:
        return output_class(**dict(zip(names, values, strict=True)))

    jax.tree_util.register_pytree_with_keys(output_class, flatten, unflatten)
    export.register_pytree_node_serialization(
        output_class,
        serialized_name=f"{output_class.__module__}.{output_class.__name__}",
        serialize_auxdata=lambda names: json.dumps(names).encode(),
        deserialize_auxdata=lambda names: tuple(json.loads(names)),
    )


for _output_class in (
    FlaxBaseModelOutput,
    FlaxCausalLMOutput,
    FlaxOpenAIGPTDoubleHeadsModelOutput,
    FlaxSequenceClassifierOutput,
):
    _register(_output_class)
