"""Arguments of transformers: the values that have no effect here, and advice for all others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gptcore.errors import ConfigError, bullet_list

Answers = Mapping[str, tuple[Collection[Any] | None, str]]

LOCATING: Answers = {
    "trust_remote_code": (None, ""),  # no code of a repository is ever run
    "resume_download": (None, ""),  # always
    "subfolder": ((None, ""), "Pass the path of that folder."),
    "variant": ((None,), "Pass the path of that file."),
    "force_download": ((None, False), "Delete the repository in the cache, or pass another cache_dir."),
    "proxies": ((None,), "Set the environment variable HTTPS_PROXY."),
}
"""Argument of any ``from_pretrained`` -> the values that have no effect (``None``: all), and advice for the others."""

LOADING: Answers = {
    "low_cpu_mem_usage": (None, ""),  # loading never takes more
    "from_pt": (None, ""),  # the format is recognised
    "from_tf": (None, ""),
    "from_flax": (None, ""),
    "use_safetensors": ((None, True), "Pass allow_pickle=True to read files of torch.save."),
    "torch_dtype": ((None,), "Pass dtype=... instead."),
    "device_map": ((None,), "Omit it: the framework places the model."),
    "quantization_config": ((None,), 'Pass quantization="int8" to from_pretrained of a model of gpt_torch.'),
    "load_in_8bit": ((None, False), 'Pass quantization="int8" to from_pretrained of a model of gpt_torch.'),
    "load_in_4bit": ((None, False), 'Pass quantization="int8" to from_pretrained of a model of gpt_torch.'),
    "config": ((None,), "Pass the settings to change as keywords, such as num_labels=3."),
    "use_cache": ((None, False), "Pass it to the model call or to generate."),
    "weights_only": (None, ""),  # no code of a pickle is ever run
    "output_loading_info": ((None, False), "Missing weights are logged."),
    "state_dict": ((None,), "Create the model from its config, then load these weights into it."),
}
"""The same for the ``from_pretrained`` of a model."""

SAVING: Answers = {
    "save_function": (None, ""),  # files are written atomically, by one writer for all formats
    "safe_serialization": ((None, True), "Save, then run: gptcore convert FOLDER OUTPUT --to pytorch."),
    "push_to_hub": ((None, False), "Call model.push_to_hub(repo_id)."),
    "state_dict": ((None,), "Load these weights into the model first."),
}
"""The same for ``save_pretrained``."""

GENERATING: Answers = {
    "renormalize_logits": ((None, False), "Omit it: each step is sampled from normalised probabilities."),
    "synced_gpus": ((None, False), "Omit it."),
    "generator": ((None,), "Pass seed=... instead."),
    "inputs": ((None,), "Pass input_ids instead."),
    "inputs_embeds": ((None,), "Pass input_ids instead."),
    "position_ids": ((None,), "Omit it: positions follow from attention_mask."),
    "token_type_ids": ((None,), "Write your own loop that calls the model with past_key_values."),
    "past_key_values": ((None,), "Write your own loop that calls the model with past_key_values."),
    "logits_processor": ((None, []), "Write your own loop that calls the model with past_key_values."),
    "prefix_allowed_tokens_fn": ((None,), "Write your own loop that calls the model with past_key_values."),
    "stopping_criteria": ((None, []), "Pass stop_strings or eos_token_id, or stop reading stream_text(...)."),
    "max_time": ((None,), "Stop reading stream_text(...) when the time is up."),
    "output_logits": ((None, False), "Call the model on the returned sequences."),
    "output_attentions": ((None, False), "Call the model on the returned sequences."),
    "output_hidden_states": ((None, False), "Call the model on the returned sequences."),
    "suppress_tokens": ((None, []), "Pass bad_words_ids=[[id], ...] instead."),
    "begin_suppress_tokens": ((None, []), "Generate one token with bad_words_ids=[[id], ...], then the rest."),
    "sequence_bias": ((None, [], {}), "Write your own loop that calls the model with past_key_values."),
    "exponential_decay_length_penalty": ((None,), "Write your own loop that calls the model with past_key_values."),
    "guidance_scale": ((None, 1, 1.0), "Write your own loop that calls the model with past_key_values."),
    "watermarking_config": ((None,), "Write your own loop that calls the model with past_key_values."),
    "forced_bos_token_id": ((None,), "Append the id to input_ids instead."),
    "forced_eos_token_id": ((None,), "Append the id to the rows that did not end."),
    "force_words_ids": ((None, []), "Constrained beam search is not supported."),
    "constraints": ((None, []), "Constrained beam search is not supported."),
    "epsilon_cutoff": ((None, 0, 0.0), "Pass min_p, top_p or typical_p instead."),
    "eta_cutoff": ((None, 0, 0.0), "Pass min_p, top_p or typical_p instead."),
    "encoder_repetition_penalty": ((None, 1, 1.0), "Pass repetition_penalty instead."),
    "encoder_no_repeat_ngram_size": ((None, 0), "Pass no_repeat_ngram_size instead."),
    "remove_invalid_values": ((None, False), "Omit it: logits that are not finite raise an error."),
    "prompt_lookup_num_tokens": ((None,), "Assisted generation is not supported."),
    "dola_layers": ((None,), "Omit it: DoLa, deprecated in transformers, is not implemented."),
    "token_healing": ((None, False), "Omit it."),
    "low_memory": (None, ""),  # the same text
    "bos_token_id": (None, ""),  # starts a text without a prompt, which is an error here
    "num_beam_groups": ((None, 1), "Omit it: group beam search, deprecated in transformers, is not implemented."),
    "diversity_penalty": ((None, 0.0), "Omit it: group beam search, deprecated in transformers, is not implemented."),
    "assistant_model": ((None,), "Assisted generation is not supported."),
    "cache_implementation": ((None,), "Omit it: the cache has a static length."),
}
"""The same for ``generate``."""


def without_idioms(options: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    """Return the options that the table does not list.

    Raises:
        ConfigError: A listed option has a value that would have an effect; the error says what to do instead.

    >>> without_idioms({"low_cpu_mem_usage": True, "num_labels": 3}, LOADING)
    {'num_labels': 3}
    """
    problems = unsupported(options, answers)
    if problems:
        raise ConfigError("cannot use these arguments of transformers:\n" + bullet_list(problems))
    return {name: value for name, value in options.items() if name not in answers}


def unsupported(options: Mapping[str, Any], answers: Answers) -> list[str]:
    """One sentence for each listed option with a value that would have an effect."""
    return [
        f"{name}={options[name]!r} is not supported. {advice}"
        for name, (harmless, advice) in answers.items()
        if name in options and harmless is not None and not _is_one_of(options[name], harmless)
    ]


def _is_one_of(value: Any, harmless: Collection[Any]) -> bool:
    """Whether the value is one of these; of the same type, so that arrays are not compared."""
    return any(type(value) is type(other) and value == other for other in harmless)


def saves(is_main_process: bool, options: Mapping[str, Any]) -> bool:
    """Whether ``save_pretrained`` writes files; first its other options are checked.

    Raises:
        ConfigError, TypeError: An option is not supported or unknown.
    """
    unknown = without_idioms(options, SAVING)
    if unknown:
        raise TypeError(f"save_pretrained() got an unexpected keyword argument {next(iter(unknown))!r}")
    return bool(is_main_process)


def padded_vocabulary(new_num_tokens: int, pad_to_multiple_of: int | None, mean_resizing: bool) -> int:
    """The new vocabulary size for ``resize_token_embeddings``, rounded up to a multiple of ``pad_to_multiple_of``.

    >>> padded_vocabulary(40479, 64, mean_resizing=False)
    40512
    """
    if mean_resizing:
        raise ConfigError(
            "mean_resizing must be False; got True. Omit it: new rows are drawn from a normal distribution with mean 0 "
            "and standard deviation initializer_range."
        )
    if not pad_to_multiple_of:
        return new_num_tokens
    return -(-new_num_tokens // pad_to_multiple_of) * pad_to_multiple_of
