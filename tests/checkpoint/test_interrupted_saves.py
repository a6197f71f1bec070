"""Saves that are killed, or that the file system refuses: the old checkpoint or the new one, never a mixture."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checkpoint_data import CONFIG, content, save

from gptcore import CheckpointError
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import WRITABLE, read_tensors
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.errors import StorageError
from gptcore.spec.parameters import Head
from gptcore.storage.transaction import JOURNAL_NAME, PREFIX


@pytest.mark.parametrize("form", WRITABLE)
def test_a_killed_save_leaves_the_old_or_the_new(tmp_path, form):
    """A process saves two models in turn over each other and is killed at some moment."""
    kills = int(os.environ.get("GPTCORE_SAVE_KILLS", "3"))
    folder = tmp_path / "model"
    code = textwrap.dedent(f"""
        import itertools, sys
        from checkpoint_data import CONFIG, save
        from gptcore.spec.parameters import Head
        for layers in itertools.cycle((1, 3)):
            save({str(folder)!r}, Head.NONE, form={form!r}, config=CONFIG.replace(n_layer=layers))
            print(layers, flush=True)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    stream = np.random.default_rng(WRITABLE.index(form))
    for _ in range(kills):
        saver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        saver.stdout.readline()
        time.sleep(stream.uniform(0, 0.3))
        saver.kill()
        saver.communicate()
        source = open_pretrained(folder, Head.NONE, allow_pickle=True)
        config = CONFIG.replace(n_layer=source.config.n_layer)
        wanted = dict(
            open_pretrained(save(tmp_path / f"{config.n_layer}", Head.NONE, config=config), Head.NONE).values()
        )
        for name, array in source.values():
            np.testing.assert_array_equal(array, wanted[name])


def decide(folder, monkeypatch, form):
    """A save over a checkpoint of two layers whose writer is gone as soon as it is decided."""
    save(folder, Head.NONE, form=form)
    with monkeypatch.context() as patch:
        patch.setattr("gptcore.storage.transaction.recover", lambda folder: None)
        save(folder, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    assert (folder / JOURNAL_NAME).exists()


def is_the_new_one(folder):
    """Assert that nothing of the old checkpoint is left, and nothing of the save; returns True."""
    source = open_pretrained(folder, Head.NONE)
    assert source.config.n_layer == 1
    assert source.report() == {"missing_keys": [], "unexpected_keys": []}
    assert not [path for path in folder.iterdir() if path.name.startswith(PREFIX[:-1])]
    return True


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
def test_a_decided_save_is_finished_by_the_next_reader(tmp_path, monkeypatch, form):
    decide(tmp_path, monkeypatch, form)
    assert is_the_new_one(tmp_path)


def test_a_half_replaced_directory_is_finished_by_the_next_reader(tmp_path, monkeypatch):
    """The reader that finishes the save is killed while the old directory goes, and again before the new one comes."""
    decide(tmp_path, monkeypatch, "orbax")
    for half in (True, False):

        def killed(path, half=half):
            for array in list(path.iterdir())[: 5 if half else None]:
                shutil.rmtree(array) if array.is_dir() else array.unlink()
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("gptcore.storage.transaction._delete", killed)
            with pytest.raises(KeyboardInterrupt):
                read_tensors(tmp_path)
    assert is_the_new_one(tmp_path)


def test_two_readers_finish_a_save_at_once(tmp_path, monkeypatch):
    """Both see that the old directory has to go; the slower one must not take the new one for it."""
    decide(tmp_path, monkeypatch, "orbax")

    def slowly(path):
        time.sleep(0.2)
        shutil.rmtree(path)

    with monkeypatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setattr("gptcore.storage.transaction._delete", slowly)
        assert all(pool.map(is_the_new_one, [tmp_path] * 2))
    assert is_the_new_one(tmp_path)


def test_saving_over_a_link_keeps_its_target(tmp_path):
    kept = save(tmp_path / "kept", Head.NONE, form="orbax") / "orbax_checkpoint"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "orbax_checkpoint").symlink_to(kept)
    save(folder, Head.NONE, form="orbax")
    assert not (folder / "orbax_checkpoint").is_symlink()
    assert read_tensors(kept)


@pytest.mark.parametrize("form", WRITABLE)
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, form):
    """No file may grow beyond 3,000 bytes: the larger model does not fit, half-way through its weights."""
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write in .*: File too large. Its previous content") as caught:
            save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=5, n_embd=20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path) in str(caught.value)
    assert content(tmp_path) == before


def refuse(monkeypatch, call, number):
    """The file system answers a function of ``os`` with this error."""

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "chmod"])
def test_a_save_works_without_fsync_and_chmod(tmp_path, monkeypatch, form, number, call):
    """Google Drive, Windows shares and FUSE."""
    save(tmp_path, Head.NONE, form=form)
    refuse(monkeypatch, call, number)
    save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    CONFIG.save_pretrained(tmp_path / "config")
    assert is_the_new_one(tmp_path)


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failing_disk_stops_a_save(tmp_path, monkeypatch, form, number):
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    refuse(monkeypatch, "fsync", number)
    with pytest.raises(StorageError, match=r"cannot write .*\. Its previous content is unchanged"):
        save(tmp_path, Head.NONE, form=form, config=CONFIG.replace(n_layer=1))
    monkeypatch.undo()
    assert content(tmp_path) == before


@pytest.mark.parametrize("form", WRITABLE)
def test_a_missing_permission_changes_nothing(tmp_path, form, monkeypatch):
    """Reading and writing; as the system's answer to ``open``, since root may open everything."""
    save(tmp_path, Head.NONE, form=form)
    before = content(tmp_path)
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(StorageError, match=r"cannot write in .*: Permission denied. Its previous content"):
        save(tmp_path, Head.NONE, form=form)
    for reads in (read_tensors, open_checkpoint):
        with pytest.raises(CheckpointError, match=r"cannot read .*: Permission denied"):
            reads(tmp_path, allow_pickle=True)
    monkeypatch.undo()
    assert content(tmp_path) == before


def forbidden(*_, **__):
    raise PermissionError(13, "Permission denied")
