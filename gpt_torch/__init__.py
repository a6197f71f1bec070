"""OpenAI GPT in PyTorch. This is the whole public surface."""

try:
    import torch  # noqa: F401
except ImportError as cause:
    from gptcore.installation import install_command

    raise ImportError(f"gpt_torch needs PyTorch: {install_command('torch')}") from cause

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
from gptcore.config import OpenAIGPTConfig

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
    "SequenceClassifierOutput",
]
