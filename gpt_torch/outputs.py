"""What the model calls return; fields and behaviour are those of ``gptcore.spec.outputs.ModelOutput``."""

from typing import Any

from torch.utils import _pytree

from gptcore.spec import outputs


class BaseModelOutput(outputs.ModelOutput):
    """``last_hidden_state`` (..., T, C), ``hidden_states`` L + 1 times that, ``attentions`` L times (B, H, T, S)."""

    fields = outputs.BASE_FIELDS


class CausalLMOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (..., T, V); ``hidden_states`` and ``attentions`` as in ``BaseModelOutput``."""

    fields = outputs.CAUSAL_LM_FIELDS


class OpenAIGPTDoubleHeadsModelOutput(outputs.ModelOutput):
    """``loss`` and ``mc_loss`` (), ``logits`` (..., N, T, V), ``mc_logits`` (..., N); the rest as above."""

    fields = outputs.DOUBLE_HEADS_FIELDS


class SequenceClassifierOutput(outputs.ModelOutput):
    """``loss`` (), ``logits`` (B, K); ``hidden_states`` and ``attentions`` as in ``BaseModelOutput``."""

    fields = outputs.SEQUENCE_CLASSIFIER_FIELDS


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
