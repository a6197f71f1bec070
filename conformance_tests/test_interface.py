"""The three packages are one book in three languages: files, public names, signatures, docstrings."""

import ast
import functools
import importlib
import inspect
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from gptcore.generation import GenerationConfig

PACKAGES = {"gpt_torch": "", "gpt_tf": "TF", "gpt_flax": "Flax"}
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

# Why the packages part -> where, as ``differences`` writes it.
EXCEPTIONS = {
    "Only PyTorch has weights in one byte, and adapters of other libraries that replace a projection.": """
        projection quantization pretrained:*.reject_quantized pretrained:*.train
        pretrained:*.from_pretrained#Args.quantization""",
    "Only PyTorch's from_pretrained has torch_dtype and device_map of transformers.": "pretrained:_LoadingOptions*",
    "PyTorch's parameters take memory when they are made, may be on any device, and come as a state dict.": """
        *(device) *(tensors) *(state_dict) weights:device_of pretrained:*.device pretrained:*._load_from_state_dict
        pretrained:*.materialize(dtype) pretrained:*.materialize#1 backend:BackendModel.tensors
        backend:ACCELERATE_DEVICE""",
    "PyTorch indexes with few integer dtypes, Keras' policies have two dtypes, JAX' integers are int32 by default.": """
        pretrained:NARROW pretrained:*.dtype pretrained:widened#0 pretrained:as_tensor#0 heads:signed
        weights:framework_dtype#0 weights:dtype_name#0 weights:MIXED *#Args.dtype""",
    "PyTorch writes into the cache; XLA needs static shapes and returns a new one.": """
        cache:KVCache#1 cache:KVCache#Attributes.length cache:write#0 cache:known""",
    "PyTorch's loop runs step by step; those of TensorFlow and JAX are compiled programs, also inside the user's.": """
        generation:compiled generation:programs_of generation:Programs* generation:call generation:traced
        generation:run
        generation:Stepper.padded generation:Stepper.tensors generation:loop* generation:read(*) generation:Graph
        generation:Carry backend:run* backend:Flags backend:total_loss backend:precision
        backend:BackendModel.__init__(dtype) pretrained:readable""",
    "PyTorch's kernels take heads before positions and a rate of dropout.": """
        modeling:eager_attention* modeling:sdpa_attention(dropout_p)""",
    "JAX' attention computes in float32 at most, and has no dropout.": "modeling:OpenAIGPTModel._needs_eager",
    "JAX can be told to raise where arrays of unequal rank are added.": "modeling:default_positions#0",
    "Dropout follows the mode of the modules in PyTorch, an argument in Keras, and random streams in Flax.": """
        *(training) *(rngs) *.rngs pretrained:without_dropout modeling:random_states pretrained:seeded""",
    "Flax' random streams may also seed the weights, inside a compiled program too.": """
        *(seed) modeling:OpenAIGPTModel#Args.seed pretrained:UnsetSeed pretrained:UNSET_SEED
        pretrained:traced_fresh_values""",
    "Keras names layers, builds them in a method of their own, and saves and exports models in files of its own.": """
        *(name) *(trainable) *(keras_options) *.build pretrained:build_once pretrained:*.get_config
        pretrained:*.from_config pretrained:*.ids_shape pretrained:*.export pretrained:*.__dir__ pretrained:layers_of
        embedding modeling:Projection* modeling:dropout modeling:layer_norm __init__:_started_with
        weights:is_in_place""",
    "Keras' calls take a dict or symbolic tensors, and its models text.": """
        text pretrained:*.forward pretrained:*.without_values pretrained:check_* pretrained:IDS
        modeling:OpenAIGPTModel.forward#Args.input_ids heads:*.generate#Args.input_ids heads:*.generate#Args.tokenizer
        heads:*.generate#Returns""",
    "Keras compiles fit, which needs what each loss compares, for metrics and weights of samples.": """
        fit pretrained:*._forget_compiled heads:*.label_names heads:*compared heads:label_losses heads:mean_loss
        heads:next_tokens heads:*.kind""",
    "NNX' layers take a dtype, initial values and the axes that are sharded.": """
        modeling:unset modeling:partitioned modeling:embedding* modeling:projection
        modeling:*.__init__(dtype) heads:SequenceSummary.__init__(dtype) pretrained:*.__init__(dtype)""",
    "Keras and NNX have names and shapes of their own for the parameters, and copy what they get.": """
        weights:transform_of weights:paths_of weights:weights_of weights:assign#0 weights:from_numpy#0""",
    "What can be checked while tracing is each framework's own.": "modeling:*.forward#Raises.InputError",
    "The Trainer and the generation of transformers call these; torch.utils.checkpoint has options.": """
        heads:*.prepare_inputs_for_generation pretrained:*.activation_checkpointing_*
        pretrained:*.gradient_checkpointing_enable(*) modeling:recomputed""",
    "PyTorch's uint32 has no arithmetic.": "sampling:signed",
    "Devices are chosen by a context of PyTorch and JAX, and by a name in TensorFlow.": """
        backend:Backend.device backend:local_devices""",
    "A loop in PyTorch takes the pair, clips and steps the schedule; in Keras and optax the optimizer does both.": """
        training:adamw#1 training:adamw#Returns training:_factor training:LearningRates* training:AdamW*
        training:clipped training:UNDECAYED""",
    "A step on accelerate, in tf.function over replicas, or in jax.jit over a mesh has its own parts and demands.": """
        training:Trainer#* training:Trainer._autocast training:Trainer._to_tensors training:whole training:like
        training:Trainer._distributed training:Trainer._update_* training:Trainer._gradients
        training:Trainer._moments_of training:Trainer._read_model training:Trainer._updated
        training:Trainer._loss training:Trainer._outputs
        training:Trainer._run training:Trainer._rounded training:Trainer._named training:Trainer._tree
        training:Trainer._spread training:Trainer._replicated training:Trainer._placed training:gathered
        training:DATA training:TENSOR training:SHARDED_AXES training:MOMENT_OF""",
}
PATTERNS = [pattern for patterns in EXCEPTIONS.values() for pattern in patterns.split()]


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


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "gpt_torch"])
def test_the_packages_are_the_same_book(package):
    """File by file: names, private ones too, their order, arguments and docstrings, but for the exceptions."""
    found = differences(package)
    assert [one for one in found if not any(fnmatchcase(one, pattern) for pattern in PATTERNS)] == []


def test_each_exception_is_needed():
    found = [one for package in PACKAGES for one in differences(package)]
    assert [pattern for pattern in PATTERNS if not any(fnmatchcase(one, pattern) for one in found)] == []


def differences(package):
    """Where a package parts from ``gpt_torch``: "file", "file:name", "file:name(argument)" or "file:name#entry"."""
    ours, reference = read_package(package), read_package("gpt_torch")
    for file in sorted(ours.keys() ^ reference.keys()):
        yield file
    for file in sorted(ours.keys() & reference.keys()):
        yield from differences_of_files(file, ours[file], reference[file])


def differences_of_files(file, ours, reference):
    for name in sorted(ours.keys() ^ reference.keys()):
        yield f"{file}:{name}"
    shared = [name for name in ours if name in reference]
    if shared != [name for name in reference if name in ours]:
        yield f"{file}:order"
    for name in shared:
        (our_arguments, our_text), (arguments, text) = ours[name], reference[name]
        for argument in sorted(our_arguments.keys() ^ arguments.keys()):
            yield f"{file}:{name}({argument})"
        both = [argument for argument in our_arguments if argument in arguments]
        if both != [argument for argument in arguments if argument in our_arguments]:
            yield f"{file}:{name}(order)"
        for argument in both:
            if our_arguments[argument] != arguments[argument]:
                yield f"{file}:{name}({argument})"
        for entry in sorted(our_text.keys() | text.keys()):
            if entry in our_text and entry in text:
                same = our_text[entry] == text[entry]
            else:  # more paragraphs, and arguments, are a framework's own
                same = entry not in ("0", "Returns")
            if not same:
                yield f"{file}:{name}#{entry}"


@functools.cache
def read_package(package):
    folder = Path(importlib.import_module(package).__file__).parent
    return {path.stem: dict(definitions(ast.parse(path.read_text()))) for path in folder.glob("*.py")}


def definitions(node, prefix=""):
    """Name, arguments and docstring of all that a module or class defines, in the order of the file."""
    if isinstance(node, ast.Module):
        yield "module", ({}, entries(ast.get_docstring(node)))
    for child in node.body:
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            is_method = prefix and isinstance(child, ast.FunctionDef)
            name = "forward" if is_method and child.name in CALL.values() else neutral(child.name)
            setter = any(ast.unparse(decorator).endswith(".setter") for decorator in child.decorator_list)
            name = f"{prefix}{name}{'.setter' if setter else ''}"
            arguments = named_arguments(child.args) if isinstance(child, ast.FunctionDef) else {}
            yield name, (arguments, entries(ast.get_docstring(child)))
        if isinstance(child, ast.ClassDef):
            yield from definitions(child, f"{name}.")
        if isinstance(child, (ast.Assign, ast.AnnAssign)):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            for target in targets:
                for found in ast.walk(target):
                    if isinstance(found, ast.Name) and found.id != "__all__":
                        yield prefix + found.id, ({}, {})


def named_arguments(arguments):
    """Kind and default of each argument by name."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = [("", *pair) for pair in zip(positional, defaults, strict=True)]
    pairs += [("*", *pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    pairs += [(kind, a, None) for kind, a in (("*", arguments.vararg), ("**", arguments.kwarg)) if a]
    return {neutral(a.arg): (kind, default and neutral(ast.unparse(default))) for kind, a, default in pairs}


def entries(docstring):
    """The paragraphs of a docstring by number, but its examples; and what its sections say, by section and name."""
    found, number = {}, 0
    for paragraph in re.split(r"\n\s*\n", docstring or ""):
        first, *lines = paragraph.split("\n")
        if first in ("Args:", "Attributes:", "Raises:", "Returns:"):
            entry = section = first.removesuffix(":")
            for line in lines:
                name, colon, text = line.strip().partition(": ")
                if colon and section != "Returns" and line.startswith("    ") and not line.startswith("     "):
                    entry, line = f"{section}.{name}", text
                found[entry] = neutral(f"{found.get(entry, '')} {line}")
        elif not first.startswith(">>>"):
            found[str(number)] = neutral(paragraph)
            number += 1
    return found


def neutral(text):
    """Without the words of one framework."""
    text = re.sub(r"\b(TF|Flax|Torch)(?=[A-Z][a-z]|OpenAI)", "", text)
    text = re.sub(r"\bgpt_(torch|tf|flax)\b", "gpt_framework", text)
    text = re.sub(r"\.(forward|call|__call__)\b", ".call", text)
    text = re.sub(
        r"\b(Keras( 3)? on TensorFlow|Flax NNX on JAX|PyTorch|TensorFlow|Keras|JAX)('s?)?", "framework's", text
    )
    text = re.sub(r"\b(torch|tf|jnp)\.", "framework.", text)
    text = re.sub(r"\b([Aa])n? array", r"\1 tensor", text)
    text = re.sub(r"array|Array", lambda word: "tensor" if word[0].islower() else "Tensor", text)
    return " ".join(text.split())


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
