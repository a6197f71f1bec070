"""The three packages are one book in three languages: files, public names, signatures, docstrings."""

import importlib
import inspect

import pytest

from gptcore.generation import GenerationConfig

PACKAGES = {"gpt_torch": "", "gpt_tf": "TF", "gpt_flax": "Flax"}
FILES = (
    "backend",
    "cache",
    "generation",
    "heads",
    "modeling",
    "outputs",
    "pretrained",
    "sampling",
    "tensors",
    "training",
    "weights",
)
CALL = {"gpt_torch": "forward", "gpt_tf": "call", "gpt_flax": "__call__"}
MODELS = (
    "OpenAIGPTModel",
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTForSequenceClassification",
)
SHARED_METHODS = (
    "from_pretrained",
    "save_pretrained",
    "push_to_hub",
    "resize_token_embeddings",
    "get_input_embeddings",
    "num_parameters",
)


def neutral_names(package):
    """Public names without the framework's prefix, nor ``Projection``: what PEFT must be told of, in PyTorch only."""
    prefix = PACKAGES[package]
    names = {*importlib.import_module(package).__all__} - {"Projection"}
    return {name if name == "OpenAIGPTConfig" else name.removeprefix(prefix) for name in names}


def model(package, name):
    return getattr(importlib.import_module(package), PACKAGES[package] + name)


def arguments(function):
    """Argument names and defaults in order, but ``self`` and what only one framework has."""
    own = {"self", "training", "rngs", "state_dict", "name", "trainable", "kwargs", "keras_options", "layer_options"}
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name not in own}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names(package):
    assert neutral_names(package) == neutral_names("gpt_torch")


@pytest.mark.parametrize("package", PACKAGES)
def test_signatures_name_every_setting(package):
    """As ``help`` shows them, with type and default."""
    generate = inspect.signature(model(package, "OpenAIGPTLMHeadModel").generate).parameters
    for name, setting in inspect.signature(GenerationConfig).parameters.items():
        assert name == "extra" or generate[name] == setting
    loading = inspect.signature(model(package, "OpenAIGPTModel").from_pretrained).parameters
    assert {"revision", "token", "allow_pickle", "ignore_mismatched_sizes", "n_layer", "num_labels"} <= set(loading)
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in (*generate.values(), *loading.values()))


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_their_order(package):
    """Each file defines the same public names, in the same order as the PyTorch one."""
    for file in FILES:
        expected = definitions("gpt_torch", file)
        found = definitions(package, file)
        shared = [name for name in found if name in expected]
        assert shared == [name for name in expected if name in found], file
        assert len(shared) >= len(expected) * 0.6, (file, expected, found)


def definitions(package, file):
    module = importlib.import_module(f"{package}.{file}")
    own = [
        (value, name)
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and callable(value)
        and not name.startswith("_")
        and hasattr(value, "__name__")
        and value.__name__ == name
    ]
    own.sort(key=lambda item: inspect.getsourcelines(item[0])[1])
    return [name.removeprefix("Torch").removeprefix(PACKAGES[package]) for _, name in own]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("package", PACKAGES)
def test_signatures(package, name):
    ours, reference = model(package, name), model("gpt_torch", name)
    assert arguments(getattr(ours, CALL[package])) == arguments(reference.forward)
    assert list(arguments(getattr(ours, CALL[package]))) == list(arguments(reference.forward))
    assert arguments(ours.__init__) == arguments(reference.__init__)
    methods = (*SHARED_METHODS, "generate") if name == "OpenAIGPTLMHeadModel" else SHARED_METHODS
    for method in methods:
        assert arguments(getattr(ours, method)) == arguments(getattr(reference, method)), method


def test_a_tokenizer_is_pushed_as_a_model_is():
    of_tokenizer = arguments(importlib.import_module("tokenization").OpenAIGPTTokenizer.push_to_hub)
    of_model = arguments(model("gpt_torch", "OpenAIGPTModel").push_to_hub)
    assert list(of_tokenizer) == [name for name in of_model if name != "max_shard_size"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_have_an_example(package, name):
    assert ">>>" in inspect.getdoc(model(package, name))
