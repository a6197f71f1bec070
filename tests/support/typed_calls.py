"""Calls as users write them. Nothing runs them: mypy checks what they return, and refuses misspelt settings."""

from typing import assert_type

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from gpt_flax import FlaxOpenAIGPTLMHeadModel
from gpt_tf import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel
from gpt_torch import OpenAIGPTLMHeadModel
from gptcore.generation import GenerateOutput

IDS = np.array([[1, 2, 3]])


def in_torch(config: OpenAIGPTConfig) -> None:
    model = OpenAIGPTLMHeadModel.from_pretrained("folder", dtype="float32", revision="main", embd_pdrop=0.0)
    assert_type(model, OpenAIGPTLMHeadModel)
    _, loading = OpenAIGPTLMHeadModel.from_pretrained("folder", output_loading_info=True)
    assert_type(loading, dict[str, list[str]])
    assert_type(OpenAIGPTLMHeadModel(config, dtype=torch.float64, seed=1).config, OpenAIGPTConfig)
    assert_type(model.generate([[1, 2]], do_sample=True, max_new_tokens=4), torch.Tensor | GenerateOutput)
    assert_type(model.resize_token_embeddings(7), nn.Embedding)
    OpenAIGPTLMHeadModel.from_pretrained("folder", revison="main")  # type: ignore[call-overload]
    model.generate(IDS, max_new_tokns=4)  # type: ignore[call-arg]
    model.forward(IDS, attentionmask=IDS)  # type: ignore[call-arg]


def in_tf(config: OpenAIGPTConfig) -> None:
    model = TFOpenAIGPTLMHeadModel.from_pretrained("folder", dtype="float32", revision="main", embd_pdrop=0.0)
    assert_type(model, TFOpenAIGPTLMHeadModel)
    _, loading = TFOpenAIGPTLMHeadModel.from_pretrained("folder", output_loading_info=True)
    assert_type(loading, dict[str, list[str]])
    assert_type(TFOpenAIGPTLMHeadModel(config, dtype="float64", seed=1).trunk.head.architecture, str)
    TFOpenAIGPTLMHeadModel.from_pretrained("folder", revison="main")  # type: ignore[call-overload]
    model.generate("Once upon a time", max_new_tokns=4)  # type: ignore[call-arg]
    model.call(IDS, attentionmask=IDS)  # type: ignore[call-arg]


def in_flax(config: OpenAIGPTConfig) -> None:
    model = FlaxOpenAIGPTLMHeadModel.from_pretrained("folder", dtype="float32", revision="main", embd_pdrop=0.0)
    assert_type(model, FlaxOpenAIGPTLMHeadModel)
    _, loading = FlaxOpenAIGPTLMHeadModel.from_pretrained("folder", output_loading_info=True)
    assert_type(loading, dict[str, list[str]])
    assert_type(FlaxOpenAIGPTLMHeadModel(config, dtype="float64", rngs=nnx.Rngs(1)).config, OpenAIGPTConfig)
    assert_type(model.generate([[1, 2]], do_sample=True, max_new_tokens=4), jax.Array | GenerateOutput)
    assert_type(model.resize_token_embeddings(7), nnx.Embed)
    FlaxOpenAIGPTLMHeadModel.from_pretrained("folder", revison="main")  # type: ignore[call-overload]
    model.generate(IDS, max_new_tokns=4)  # type: ignore[call-arg]
    model(IDS, attentionmask=IDS)  # type: ignore[call-arg]
