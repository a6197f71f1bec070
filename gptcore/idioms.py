"""Arguments of transformers: which values have no effect here, and what to do about all others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gptcore.errors import ConfigError, bullet_list

Answers = Mapping[str, tuple[Collection[Any] | None, str]]

LOADING: Answers = {
    "low_cpu_mem_usage": (None, ""),  # loading never takes more
    "trust_remote_code": (None, ""),  # no code of a repository is ever run
    "from_pt": (None, ""),  # the format is recognised
    "from_tf": (None, ""),
    "from_flax": (None, ""),
    "use_safetensors": ((None, True), "Pass allow_pickle=True to read files of torch.save."),
    "torch_dtype": ((None,), "Pass dtype=... instead."),
    "device_map": ((None,), "Leave it out; the framework places the model."),
    "quantization_config": ((None,), 'Pass quantization="int8" to a model of gpt_torch.'),
    "load_in_8bit": ((None, False), 'Pass quantization="int8" to a model of gpt_torch.'),
    "load_in_4bit": ((None, False), 'Pass quantization="int8" to a model of gpt_torch.'),
    "config": ((None,), "Pass the settings that change as keywords, such as num_labels=3."),
    "use_cache": ((None, False), "Pass it to the model call or to generate."),
}
"""Argument of ``from_pretrained`` -> the values that have no effect (``None``: all), and advice for all others."""

SAVING: Answers = {
    "is_main_process": (None, ""),  # see saves
    "save_function": (None, ""),  # files are written atomically, by one writer for all formats
    "safe_serialization": ((None, True), "Save, then run: gptcore convert FOLDER OUTPUT --to pytorch."),
    "push_to_hub": ((None, False), "Call model.push_to_hub(repo_id)."),
    "state_dict": ((None,), "Load these weights into the model first."),
}
"""The same for ``save_pretrained``."""


def without_idioms(options: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    """Return the options that the table does not list.

    Raises:
        ConfigError: a listed option has a value that would have an effect; says what to do instead.

    >>> without_idioms({"trust_remote_code": True, "num_labels": 3}, LOADING)
    {'num_labels': 3}
    """
    problems = [
        f"{name}={options[name]!r} is not supported. {advice}"
        for name, (harmless, advice) in answers.items()
        if name in options and harmless is not None and not any(options[name] is value for value in harmless)
    ]
    if problems:
        raise ConfigError("cannot use these arguments of transformers:\n" + bullet_list(problems))
    return {name: value for name, value in options.items() if name not in answers}


def saves(options: Mapping[str, Any]) -> bool:
    """Whether ``save_pretrained`` writes files: not with ``is_main_process=False``, as other processes of a run pass.

    Raises:
        ConfigError, TypeError: an option is not supported or unknown.
    """
    unknown = without_idioms(options, SAVING)
    if unknown:
        raise TypeError(f"save_pretrained() got an unexpected keyword argument {next(iter(unknown))!r}")
    return bool(options.get("is_main_process", True))


def padded_vocabulary(new_num_tokens: int, pad_to_multiple_of: int | None, mean_resizing: bool) -> int:
    """The new vocabulary size for ``resize_token_embeddings``, rounded up to a multiple of ``pad_to_multiple_of``.

    >>> padded_vocabulary(40479, 64, mean_resizing=False)
    40512
    """
    if mean_resizing:
        raise ConfigError("mean_resizing must be False; got True. New rows are drawn from N(0, initializer_range).")
    if not pad_to_multiple_of:
        return new_num_tokens
    return -(-new_num_tokens // pad_to_multiple_of) * pad_to_multiple_of
