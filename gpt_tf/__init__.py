"""OpenAI GPT in Keras 3 on TensorFlow. This is the whole public surface."""

from gptcore.installation import required


def _started_with(backend: str) -> ImportError:
    return ImportError(
        f"gpt_tf requires the TensorFlow backend of Keras; got {backend!r}. "
        'Set the environment variable KERAS_BACKEND=tensorflow (or "backend" in ~/.keras/keras.json) '
        "before the first import of Keras."
    )


with required("tf", "gpt_tf needs Keras 3 and TensorFlow", "tensorflow", "keras"):
    import tensorflow  # noqa: F401 - first: without it Keras fails inside of itself

    try:
        import keras
    except ModuleNotFoundError as cause:
        if cause.name in ("jax", "torch", "openvino"):  # what Keras would run on
            raise _started_with(cause.name) from cause
        raise

if keras.config.backend() != "tensorflow":
    raise _started_with(keras.config.backend())

from gpt_tf.heads import (
    TFOpenAIGPTDoubleHeadsModel,
    TFOpenAIGPTForSequenceClassification,
    TFOpenAIGPTLMHeadModel,
)
from gpt_tf.modeling import TFOpenAIGPTModel
from gpt_tf.outputs import (
    TFBaseModelOutput,
    TFCausalLMOutput,
    TFOpenAIGPTDoubleHeadsModelOutput,
    TFSequenceClassifierOutput,
)
from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel
from gptcore.spec.config import OpenAIGPTConfig

__all__ = [
    "OpenAIGPTConfig",
    "TFBaseModelOutput",
    "TFCausalLMOutput",
    "TFOpenAIGPTDoubleHeadsModel",
    "TFOpenAIGPTDoubleHeadsModelOutput",
    "TFOpenAIGPTForSequenceClassification",
    "TFOpenAIGPTLMHeadModel",
    "TFOpenAIGPTModel",
    "TFOpenAIGPTPreTrainedModel",
    "TFSequenceClassifierOutput",
]
