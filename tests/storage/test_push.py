"""Pushing to a server that speaks the hub's protocol: all of it or nothing."""

import inspect
import json

import pytest
import yaml
from checkpoint_data import CONFIG, save
from hub_server import TOKEN

from gptcore import CheckpointError
from gptcore.checkpoint import open_checkpoint
from gptcore.convert import push_checkpoint
from gptcore.spec.parameters import Head


@pytest.fixture
def source(tmp_path):
    """A folder with a model and a tokenizer, and with what is nobody's business."""
    folder = save(tmp_path / "source", Head.LM, "float16")
    (folder / "vocab.json").write_text('{"<unk>": 0, "a</w>": 1}')
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / ".env").write_text("SECRET=1")
    (folder / "optimizer.safetensors").write_bytes(b"state")
    return folder


@pytest.fixture
def push(hub, tmp_path):
    """A function (folder, arguments) -> what it prints: the address of the commit, or an error."""

    def push(folder, *arguments, repo_id="owner/name", **environment):
        code = f"""
            from gptcore.checkpoint.opening import open_checkpoint
            from gptcore.convert.push import push_checkpoint
            source = open_checkpoint({str(folder)!r}, allow_pickle=True)
            try:
                print(push_checkpoint(source, {", ".join([repr(repo_id), f"token={TOKEN!r}", *arguments])}))
            except ValueError as error:
                print(type(error).__name__, error)
        """
        return hub.run(code, tmp_path / "home", **environment)

    return push


def test_what_is_pushed_comes_back(hub, push, source, tmp_path):
    address = push(source, "private=True", repo_id="owner/new")
    new = hub.repositories["owner/new"]
    assert address == f"{hub.url}/owner/new/commit/{new.commit_id('main')}"
    assert new.private
    assert new.messages == ["Upload OpenAIGPTLMHeadModel"]
    names = {"config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md", ".gitattributes"}
    assert set(new.files) == names
    for name in names - {"README.md", ".gitattributes"}:
        assert new.files[name] == (source / name).read_bytes()
    loaded = hub.run(
        f"""
        from checkpoint_data import values
        from gptcore.checkpoint import open_pretrained
        from gptcore.spec.parameters import Head
        found = dict(open_pretrained("owner/new", Head.LM, "auto", token={TOKEN!r}).values())
        print(all(found.pop(name).tobytes() == array.tobytes() for name, array in values(Head.LM, "float16")), found)
        """,
        tmp_path / "home",
    )
    assert loaded == "True {}"


def test_a_push_replaces_the_weights_before_it(hub, push, source, tmp_path):
    """Readers take ``model.safetensors`` before an index: left there, the old model would hide the new one."""
    shards = save(tmp_path / "shards", Head.LM, max_shard_size="2KB")
    push(shards)
    names = set(hub.files)
    assert "model.safetensors" not in names
    assert {"model.safetensors.index.json", "pytorch_model.bin", "flax_model.msgpack"} <= names
    assert len(hub.repositories["owner/name"].messages) == 1
    assert hub.files["README.md"] == b"a card"  # somebody's own
    again = push(shards)
    assert again.endswith(hub.repositories["owner/name"].commit_id("main"))
    assert len(hub.repositories["owner/name"].messages) == 1  # nothing new, no commit
    push(source, "commit_message='smaller'")
    assert not [name for name in hub.files if "-of-" in name or "index" in name]
    assert hub.repositories["owner/name"].messages[1:] == ["smaller"]


def test_a_missing_branch_is_created(hub, push, source):
    before = hub.state()["owner/name"]["main"]
    for _ in range(2):
        assert push(source, "revision='half'").startswith(hub.url)
    assert hub.state()["owner/name"]["main"] == before
    half = hub.repositories["owner/name"].branches["half"]
    assert half[-1]["model.safetensors"] == (source / "model.safetensors").read_bytes()


def test_a_name_without_an_owner_is_ones_own(hub, push, source):
    assert push(source, repo_id="new").startswith(f"{hub.url}/me/new/commit/")
    assert b'from_pretrained("me/new", dtype="auto")' in hub.repositories["me/new"].files["README.md"]


@pytest.mark.parametrize("written", [False, True])
def test_only_an_unchanged_generated_card_is_replaced(hub, push, source, written):
    """One that is made follows the model, until somebody touches it."""
    push(source, repo_id="owner/new")
    files = hub.repositories["owner/new"].files
    front = yaml.safe_load(files["README.md"].split(b"---\n")[1])
    assert front["library_name"] == "gptcore"
    assert front["pipeline_tag"] == "text-generation"
    assert "license" not in front
    if written:
        files["README.md"] += b"\nTrained on my diary.\n"
    card = files["README.md"]
    push(save(source, Head.LM, "float16", config=CONFIG.replace(n_layer=1)), repo_id="owner/new")
    assert (hub.repositories["owner/new"].files["README.md"] == card) is written
    (source / "README.md").write_text("a better one")
    push(source, repo_id="owner/new")
    assert hub.repositories["owner/new"].files["README.md"] == b"a better one"


FAULTS = [
    (401, "", "needs a valid token (401)"),
    (403, "", "no write access (403)"),
    (404, "", "no such repository or revision"),
    (404, "/preupload/", "no such repository or revision"),
    (409, "/commit/", "the repository was changed by another commit at the same time (409)"),
    (429, "/api/models", "too many requests (429)"),
    (429, "/commit/", "too many requests (429)"),
    (500, "", "the hub has a server error (500)"),
    (500, "/objects/batch", "the hub has a server error (500)"),
    (503, "PUT /large", "the hub has a server error (503)"),
    (403, "PUT /large", "no write access (403)"),
    (400, "PUT /large", "the hub refused the request (400): no"),
    ("cut", "PUT /large", "the connection broke ("),
    ("cut", "/commit/", "the connection broke ("),
]


def test_a_push_that_fails_changes_nothing(hub, source, tmp_path):
    """The token is not in the code, as Python 3.13 shows the lines of that in a traceback."""
    before = hub.state()
    code = f"""
        import json, logging, os, urllib.request
        from gptcore.checkpoint.opening import open_checkpoint
        from gptcore.convert.push import push_checkpoint
        logging.basicConfig(level=logging.DEBUG)
        for fault in {[*(fault[:2] for fault in FAULTS), (None, "")]!r}:
            request = urllib.request.Request("{hub.url}/control", json.dumps(fault).encode(), method="PUT")
            urllib.request.urlopen(request).close()
            try:
                print(push_checkpoint(open_checkpoint({str(source)!r}), "owner/name", token=os.environ["GIVEN"]))
            except ValueError as error:
                logging.exception("with the whole chain of causes")
                print(type(error).__name__, error)
    """
    *answers, last = hub.run(code, tmp_path / "home", HF_DEBUG="1", GIVEN=TOKEN).splitlines()
    assert len(answers) == len(FAULTS)
    for (*_, told), answer in zip(FAULTS, answers, strict=True):
        assert answer.startswith("StorageError cannot push to 'owner/name': ")
        assert told in answer
    assert all(state == before for state in hub.states)
    assert last.startswith(hub.url)
    assert hub.state() != before


def test_a_push_over_a_newer_commit_is_refused(hub, push, source):
    """Their commit would be hidden by ours, or their card lost."""
    before = dict(hub.files)
    hub.fault, hub.at = "race", "/commit/"
    assert "the repository was changed by another commit at the same time (412)" in push(source)
    assert hub.files == {**before, "theirs.txt": b"theirs"}
    hub.fault = None
    assert push(source).startswith(hub.url)
    assert hub.files["theirs.txt"] == b"theirs"


def test_pushing_to_an_unreachable_hub_is_one_error(push, source):
    answer = push(source, HF_ENDPOINT="http://127.0.0.1:9")
    assert answer.startswith("StorageError cannot push to 'owner/name': could not connect")
    assert "OfflineModeIsEnabled" in push(source, HF_HUB_OFFLINE="1")


def test_repository_names_are_checked(hub, source, tmp_path):
    names = ["a/b/c", "../a", "", "a b", "owner/", "-/-"]
    code = f"""
        from gptcore.checkpoint.opening import open_checkpoint
        from gptcore.convert.push import push_checkpoint
        for repo_id in {names!r}:
            try:
                print(push_checkpoint(open_checkpoint({str(source)!r}), repo_id, token={TOKEN!r}))
            except ValueError as error:
                print(type(error).__name__, error)
    """
    answers = hub.run(code, tmp_path / "home").splitlines()
    assert len(answers) == len(names)
    assert all(answer.startswith("StorageError") for answer in answers), answers
    assert set(hub.repositories) == {"owner/name"}


def test_a_link_out_of_the_folder_is_neither_pushed_nor_copied(hub, push, run, source, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("PRIVATE KEY")
    (source / "merges.txt").unlink()
    (source / "merges.txt").symlink_to(secret)
    assert "points outside the folder" in push(source)
    status, _, told = run("convert", source, tmp_path / "copy", "--to", "flax", "--quiet")
    assert status == 2
    assert "points outside the folder" in told
    assert not (tmp_path / "copy").exists()


def test_the_push_command_pushes(hub, source, tmp_path):
    code = """
        import sys
        from gptcore.cli import main
        sys.argv = ["gptcore", "push", *sys.argv[1:]]
    """
    arguments = [str(source), "owner/new", "--private", "--message", "by hand"]
    code = inspect.cleandoc(code) + f"\nsys.argv += {json.dumps(arguments)}\nmain()"
    assert hub.run(code, tmp_path / "home", HF_TOKEN=TOKEN).startswith(f"{hub.url}/owner/new/commit/")
    assert hub.repositories["owner/new"].messages == ["by hand"]


def test_only_whole_checkpoints_are_pushed(hub, push, source):
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "architectures": ["OpenAIGPTForSequenceClassification"]}))
    assert "it lacks score.weight" in push(source)
    assert hub.repositories["owner/name"].messages == []


def test_orbax_alone_is_not_pushed(hub, push, tmp_path):
    assert "no weights file that can be loaded from the hub" in push(save(tmp_path / "orbax", Head.LM, form="orbax"))
    assert hub.repositories["owner/name"].messages == []


def test_weights_with_a_foreign_name_are_not_pushed(tmp_path):
    path = (save(tmp_path, Head.LM) / "model.safetensors").rename(tmp_path / "weights.bin")
    with pytest.raises(CheckpointError, match=r"no weights file that can be loaded .* such as model\.safetensors"):
        push_checkpoint(open_checkpoint(path), "owner/name")


def test_a_pushed_tokenizer_comes_back(hub, source, tmp_path):
    code = f"""
        from tokenization import OpenAIGPTTokenizer
        tokenizer = OpenAIGPTTokenizer.from_pretrained({str(source)!r}, pre_tokenizer="basic")
        print(tokenizer.push_to_hub("owner/name", token={TOKEN!r}))
        again = OpenAIGPTTokenizer.from_pretrained("owner/name", token={TOKEN!r})
        print(again("a b a").input_ids, again.pre_tokenizer)
    """
    before = dict(hub.files)
    address, ids = hub.run(code, tmp_path / "home").splitlines()
    assert address.startswith(hub.url)
    assert ids == "[1, 0, 1] basic"
    assert before.items() <= hub.files.items()
    assert hub.repositories["owner/name"].messages == ["Upload tokenizer"]
