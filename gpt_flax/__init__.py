"""OpenAI GPT in Flax NNX on JAX. This is the whole public surface."""

from gptcore.installation import required

with required("flax", "gpt_flax needs JAX and Flax", "jax", "flax"):
    import flax  # noqa: F401
    import jax  # noqa: F401

from gpt_flax.heads import (
    FlaxOpenAIGPTDoubleHeadsModel,
    FlaxOpenAIGPTForSequenceClassification,
    FlaxOpenAIGPTLMHeadModel,
)
from gpt_flax.modeling import FlaxOpenAIGPTModel
from gpt_flax.outputs import (
    FlaxBaseModelOutput,
    FlaxCausalLMOutput,
    FlaxOpenAIGPTDoubleHeadsModelOutput,
    FlaxSequenceClassifierOutput,
)
from gpt_flax.pretrained import FlaxOpenAIGPTPreTrainedModel
from gptcore.spec.config import OpenAIGPTConfig

__all__ = [
    "FlaxBaseModelOutput",
    "FlaxCausalLMOutput",
    "FlaxOpenAIGPTDoubleHeadsModel",
    "FlaxOpenAIGPTDoubleHeadsModelOutput",
    "FlaxOpenAIGPTForSequenceClassification",
    "FlaxOpenAIGPTLMHeadModel",
    "FlaxOpenAIGPTModel",
    "FlaxOpenAIGPTPreTrainedModel",
    "FlaxSequenceClassifierOutput",
    "OpenAIGPTConfig",
]
