"""Loading from a server that speaks the hub's protocol, and what happens when it fails."""

import pytest
from hub_server import TOKEN


@pytest.fixture
def load(hub, tmp_path):
    """A function (code of the call) -> what it prints: in a process of its own, which reads the settings anew."""

    def load(call="open_pretrained('owner/name', Head.LM)", **environment):
        code = f"""
            from gptcore.checkpoint import open_pretrained
            from gptcore.spec.config import OpenAIGPTConfig
            from gptcore.spec.parameters import Head
            try:
                print("loaded", {call}.config.n_layer)
            except ValueError as error:
                print(type(error).__name__, error)
        """
        return hub.run(code, tmp_path / "home", **environment)

    return load


def fetched(hub):
    return sorted({request.rpartition("/")[2] for request in hub.requests if request.startswith("GET /owner/name")})


def test_only_what_is_needed_is_fetched_and_once(hub, load):
    assert load() == "loaded 2"
    assert fetched(hub) == ["config.json", "model.safetensors"]
    hub.requests.clear()
    assert load() == "loaded 2"
    assert fetched(hub) == []


def test_the_only_format_is_taken_unless_it_is_a_pickle(hub, load):
    for name in ("model.safetensors", "model.weights.h5", "flax_model.msgpack"):
        del hub.files[name]
    assert "Pass allow_pickle=True" in load()
    assert fetched(hub) == []
    assert load("open_pretrained('owner/name', Head.LM, allow_pickle=True)") == "loaded 2"
    assert fetched(hub) == ["config.json", "pytorch_model.bin"]


def test_offline_the_cache_serves(hub, load):
    for setting in ({"HF_HUB_OFFLINE": "1"}, {}):
        call = "open_pretrained('owner/name', Head.LM)" if setting else None
        local = call or "open_pretrained('owner/name', Head.LM, local_files_only=True)"
        assert load(local, **setting).startswith("StorageError no folder named 'owner/name'")
    assert hub.requests == []
    load()
    hub.requests.clear()
    assert load(HF_HUB_OFFLINE="1") == "loaded 2"
    assert load("open_pretrained('owner/name', Head.LM, local_files_only=True)") == "loaded 2"
    assert hub.requests == []
    hub.fault = 500
    assert load() == "loaded 2"  # the hub fails, the cache does not


FAULTS = {
    401: "needs a valid token",
    403: "no access to this repository",
    404: "no such repository or revision",
    429: "too many requests",
    500: "the hub has a server error (500)",
}


def test_http_statuses_are_explained(hub, tmp_path):
    code = f"""
        import json, urllib.request
        from gptcore.checkpoint import open_pretrained
        from gptcore.spec.parameters import Head
        for fault in {list(FAULTS)!r}:
            request = urllib.request.Request("{hub.url}/control", json.dumps([fault, ""]).encode(), method="PUT")
            urllib.request.urlopen(request).close()
            try:
                print(open_pretrained("owner/name", Head.LM, token={TOKEN!r}))
            except ValueError as error:
                print(type(error).__name__, error)
    """
    answers = hub.run(code, tmp_path / "home").splitlines()
    assert len(answers) == len(FAULTS)  # one line each
    for told, answer in zip(FAULTS.values(), answers, strict=True):
        assert answer.startswith("StorageError")
        assert told in answer


@pytest.mark.parametrize("fault", ["hash", "size", "cut"])
def test_damage_on_the_way_leaves_the_cache_valid(hub, load, fault):
    hub.fault = fault
    answer = load()
    assert answer.startswith(("StorageError 'owner/name'", "StorageError no folder named 'owner/name'"))
    hub.fault = None
    assert load() == "loaded 2"


def test_a_full_disk_leaves_the_cache_valid(hub, load, tmp_path):
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # what is fetched is larger
        from gptcore.checkpoint import open_pretrained
        from gptcore.spec.parameters import Head
        try:
            open_pretrained("owner/name", Head.LM)
        except ValueError as error:
            print(type(error).__name__, error)
    """
    answer = hub.run(code, tmp_path / "home")
    assert "no folder named 'owner/name', and the download from the hub failed: OSError" in answer
    assert "File too large" in answer
    assert load() == "loaded 2"


def test_an_unreachable_hub_is_one_error(load):
    answer = load(HF_ENDPOINT="http://127.0.0.1:9")
    assert "no folder named 'owner/name', and the download from the hub failed: could not" in answer
    assert "Check the network" in answer


def test_loading_a_config_downloads_nothing_else(hub, load):
    assert (
        load("type('Only', (), {'config': OpenAIGPTConfig.from_pretrained('owner/name', revision='main')})")
        == "loaded 2"
    )
    assert fetched(hub) == ["config.json"]


@pytest.mark.parametrize("call", ["open_pretrained('owner/name', Head.LM, token={})", "push({{}}, 'a/b', token={})"])
def test_a_token_with_a_line_feed_is_not_shown(load, call):
    """The HTTP client quotes a header that it cannot send."""
    call = call.format(repr(TOKEN + "\n")).replace("push", "__import__('gptcore.storage.hub').storage.hub.push")
    answer = load(call.replace("'a/b'", "'a/b', commit_message='x'"))
    assert answer == "ConfigError token must be non-empty printable ASCII without spaces."
