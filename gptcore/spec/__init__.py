"""What the model is: its config, parameters, inputs and outputs, and its reference in float64.

Backends build on it: ``parameters`` lists the tensors of a model, ``check_inputs`` rejects wrong calls with the same
errors in every framework, ``Reference`` and ``TOLERANCES`` decide what is right. ``gptcore.training`` has the recipe.
"""

from gptcore.spec.config import ConfigOptions, ConfigSettings, OpenAIGPTConfig
from gptcore.spec.inputs import (
    IGNORED_LABEL,
    ArrayInfo,
    CacheInfo,
    cache_info,
    check_capacity,
    check_inputs,
    problem_type,
)
from gptcore.spec.outputs import ModelOutput
from gptcore.spec.parameters import (
    Head,
    Kind,
    Parameter,
    feed_forward_width,
    initial_value,
    parameters,
    resized_embedding,
    summary_width,
)
from gptcore.spec.random_numbers import gumbel, threefry
from gptcore.spec.reference import Reference
from gptcore.spec.tolerances import TOLERANCES, gradient_errors, output_error

__all__ = [
    "IGNORED_LABEL",
    "TOLERANCES",
    "ArrayInfo",
    "CacheInfo",
    "ConfigOptions",
    "ConfigSettings",
    "Head",
    "Kind",
    "ModelOutput",
    "OpenAIGPTConfig",
    "Parameter",
    "Reference",
    "cache_info",
    "check_capacity",
    "check_inputs",
    "feed_forward_width",
    "gradient_errors",
    "gumbel",
    "initial_value",
    "output_error",
    "parameters",
    "problem_type",
    "resized_embedding",
    "summary_width",
    "threefry",
]
