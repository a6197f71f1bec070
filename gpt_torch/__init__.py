"""OpenAI GPT in PyTorch. This is the whole public surface."""

from gptcore.installation import required

with required("torch", "gpt_torch needs PyTorch", "torch"):
    import torch  # noqa: F401

from gpt_torch.heads import (
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel,
)
from gpt_torch.modeling import OpenAIGPTModel
from gpt_torch.outputs import (
    BaseModelOutput,
    CausalLMOutput,
    OpenAIGPTDoubleHeadsModelOutput,
    SequenceClassifierOutput,
)
from gpt_torch.pretrained import OpenAIGPTPreTrainedModel
from gpt_torch.projection import Projection
from gptcore.spec.config import OpenAIGPTConfig

__all__ = [
    "BaseModelOutput",
    "CausalLMOutput",
    "OpenAIGPTConfig",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTDoubleHeadsModelOutput",
    "OpenAIGPTForSequenceClassification",
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTModel",
    "OpenAIGPTPreTrainedModel",
    "Projection",
    "SequenceClassifierOutput",
]
