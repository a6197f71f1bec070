"""OpenAI GPT in Keras 3 on TensorFlow. This is the whole public surface."""

import os

from gptcore.installation import required

with required(
    "tf",
    f"gpt_tf needs Keras 3 and TensorFlow (KERAS_BACKEND is {os.environ.get('KERAS_BACKEND', 'not set')})",
    *("tensorflow", "keras", "jax", "torch", "openvino"),  # Keras imports what it runs on
):
    import tensorflow  # noqa: F401, I001 - first: without it Keras fails inside of itself
    import keras

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"gpt_tf runs on Keras' TensorFlow backend, but Keras was started with {keras.config.backend()!r}; "
        'set the environment variable KERAS_BACKEND=tensorflow (or "backend" in ~/.keras/keras.json) '
        "before Keras is first imported"
    )

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
from gptcore.config import OpenAIGPTConfig

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
