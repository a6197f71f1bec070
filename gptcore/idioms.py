"""What the models answer to arguments of transformers: they work, have no effect on purpose, or say what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gptcore.errors import ConfigError, bullet_list

Answers = Mapping[str, tuple[Collection[Any] | None, str]]

LOADING: Answers = {
    "low_cpu_mem_usage": (None, ""),  # loading never takes more
    "trust_remote_code": (None, ""),  # no code of a repository is ever run
    "use_safetensors": ((None, True), "Pass allow_pickle=True to read files of torch.save."),
    "torch_dtype": ((None,), "Pass dtype=... instead."),
    "device_map": ((None,), "Leave it out; the framework places the model."),
    "quantization_config": ((None,), 'Pass quantization="int8" to a model of gpt_torch.'),
    "load_in_8bit": ((None, False), 'Pass quantization="int8" to a model of gpt_torch.'),
    "load_in_4bit": ((None, False), 'Pass quantization="int8" to a model of gpt_torch.'),
    "config": ((None,), "Pass the settings that change as keywords, such as num_labels=3."),
    "use_cache": ((None, False), "Pass it to the model call or to generate."),
}
"""Arguments of ``from_pretrained``: the values without an effect (``None``: all), and what to do about others."""

SAVING: Answers = {
    "is_main_process": (None, ""),  # see saves
    "save_function": (None, ""),  # files are written atomically, by one writer for all formats
    "safe_serialization": ((None, True), "Save, then run: gptcore convert FOLDER OUTPUT --to pytorch."),
    "push_to_hub": ((None, False), "Call model.push_to_hub(repo_id)."),
    "state_dict": ((None,), "Set the weights of the model first."),
}
"""Arguments of ``save_pretrained``, likewise."""


def without_idioms(options: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    """The options that are not in the table.

    Raises:
        ConfigError: one that is has a value that would have an effect; says what to do instead.

    >>> without_idioms({"trust_remote_code": True, "num_labels": 3}, LOADING)
    {'num_labels': 3}
    """
    problems = [
        f"{name}={options[name]!r} is not supported. {advice}"
        for name, (harmless, advice) in answers.items()
        if name in options and harmless is not None and not any(options[name] is value for value in harmless)
    ]
    if problems:
        raise ConfigError("arguments of transformers that mean something else here:\n" + bullet_list(problems))
    return {name: value for name, value in options.items() if name not in answers}


def saves(options: Mapping[str, Any]) -> bool:
    """Whether ``save_pretrained`` writes: not on the other processes of a run, as ``is_main_process=False`` says.

    Raises:
        ConfigError, TypeError: an option is not supported or unknown.
    """
    unknown = without_idioms(options, SAVING)
    if unknown:
        raise TypeError(f"save_pretrained() got an unexpected keyword argument {next(iter(unknown))!r}")
    return bool(options.get("is_main_process", True))


def padded_vocabulary(new_num_tokens: int, pad_to_multiple_of: int | None, mean_resizing: bool) -> int:
    """The size that ``resize_token_embeddings`` is asked for.

    >>> padded_vocabulary(40479, 64, mean_resizing=False)
    40512
    """
    if mean_resizing:
        raise ConfigError(
            "mean_resizing must be False; got True. New rows are N(0, initializer_range), as those of a fresh model."
        )
    if not pad_to_multiple_of:
        return new_num_tokens
    return -(-new_num_tokens // pad_to_multiple_of) * pad_to_multiple_of
