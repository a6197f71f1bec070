"""The keywords that functions pass on are named: for editors, for ``help`` and for type checkers."""

import dataclasses
import inspect

import pytest

from gptcore import OpenAIGPTConfig
from gptcore.checkpoint import LoadingOptions, open_pretrained
from gptcore.generation import GenerationConfig, GenerationSettings, stream_text
from gptcore.pipelines import TextGeneration
from gptcore.spec import ConfigOptions, ConfigSettings
from gptcore.storage import hub
from gptcore.training import Recipe, RecipeSettings
from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerOptions
from tokenization.facade import TokenizerBase
from tokenization.folders import TokenizerSettings
from tokenization.tokens import ADDITIONAL, NAMED


def types_of(keywords):
    """The types of a ``TypedDict``, as they are written."""
    return {name: getattr(hint, "__forward_arg__", hint) for name, hint in keywords.__annotations__.items()}


def keyword_only(function):
    parameters = inspect.signature(function).parameters.items()
    return {name: parameter.annotation for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


LISTED = {ConfigSettings: OpenAIGPTConfig, GenerationSettings: GenerationConfig, RecipeSettings: Recipe}


@pytest.mark.parametrize("keywords", LISTED, ids=lambda keywords: keywords.__name__)
def test_the_types_are_those_of_the_class(keywords):
    assert types_of(keywords) == {field.name: field.type for field in dataclasses.fields(LISTED[keywords])}


def test_options_are_those_of_the_functions():
    assert types_of(hub.Location) == keyword_only(hub.resolve)
    others = {name: hint for name, hint in types_of(LoadingOptions).items() if name not in types_of(ConfigOptions)}
    assert others == keyword_only(open_pretrained)
    special = {*NAMED, ADDITIONAL}
    started = {name: hint for name, hint in types_of(TokenizerSettings).items() if name not in special - {"unk_token"}}
    assert started == keyword_only(TokenizerBase._start)
    assert special <= {*types_of(TokenizerSettings)}


PASSED_ON = {
    OpenAIGPTConfig.replace: ConfigSettings,
    OpenAIGPTConfig.from_dict: ConfigSettings,
    OpenAIGPTConfig.from_pretrained: ConfigOptions,
    GenerationConfig.replace: GenerationSettings,
    GenerationConfig.from_dict: GenerationSettings,
    GenerationConfig.from_pretrained: GenerationSettings,
    Recipe.replace: RecipeSettings,
    stream_text: GenerationSettings,
    TextGeneration.__call__: GenerationSettings,
    TextGeneration.stream: GenerationSettings,
    OpenAIGPTTokenizer.from_pretrained: TokenizerOptions,
    OpenAIGPTTokenizerFast.from_pretrained: TokenizerOptions,
}


@pytest.mark.parametrize("function", PASSED_ON, ids=lambda function: function.__qualname__)
def test_signatures_name_what_is_passed_on(function):
    parameters = inspect.signature(function).parameters.values()
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters)
    expected = {name: hint for name, hint in types_of(PASSED_ON[function]).items() if name != "extra"}
    assert expected.items() <= keyword_only(function).items()
