"""Exports that are killed, lose their power, or whose calls to the system fail, each once."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import subprocess
import sys

import numpy as np
import psutil
import pytest
import tifffile
import zarr

import napari_lazyload as nl
from napari_lazyload.exporting import atomic_write

PIXELS = np.arange(4 * 60 * 50, dtype="u2").reshape(4, 60, 50)
OLD = np.full((20, 30), 7, "u1")
KINDS = {
    "store": ("out.ome.zarr", {}),
    "shards": ("out.ome.zarr", {"shards": True}),
    "tiff": ("out.ome.tif", {}),
    "npy": ("out.npy", {}),
}
kinds = pytest.mark.parametrize("kind", KINDS)
unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="for systems that fork")


def written(folder, kind, pixels=PIXELS):
    name, options = KINDS[kind]
    return nl.export(pixels, folder / name, overwrite=True, **options)


def read(path):
    """Return the pixels at a final name; None for nothing there. Half of a store has other ones."""
    if not os.path.lexists(path):
        return None
    if path.suffix == ".zarr":
        return zarr.open_group(path, mode="r")["0"][...]
    return (np.load if path.suffix == ".npy" else tifffile.imread)(path)


def is_whole(pixels, *, had_old):
    """Whether a target is the old one, the new one, or was never there."""
    if pixels is None:
        return not had_old
    return np.array_equal(pixels, PIXELS) or (had_old and np.array_equal(pixels, OLD))


class FailingOnce:
    """Lets the call of some number fail, of all that an export asks the system for."""

    NAMES = ("mkdir", "replace", "rename", "fsync", "unlink", "rmdir", "open", "scandir", "listdir")

    def __init__(self, monkeypatch, folder, number, error):
        self.calls, self.number, self.error, self.folder = 0, number, error, str(folder)
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self.wrapped(getattr(os, name)))
        opened = self.wrapped(io.open)
        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr("builtins.open", opened)

    def wrapped(self, call):
        def outer(*args, **more):
            if args and (isinstance(args[0], int) or str(args[0]).startswith(self.folder)):
                self.calls += 1
                if self.calls == self.number:
                    raise OSError(self.error, os.strerror(self.error))
            return call(*args, **more)

        return outer


@pytest.mark.filterwarnings("ignore:coroutine")  # that zarr leaves when one of many fails
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@kinds
@pytest.mark.parametrize("had_old", [False, True])
def test_each_call_to_the_system_fails_once(tmp_path, kind, had_old, monkeypatch):
    number, done = 0, False
    while not done:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        if had_old:
            written(folder, kind, OLD)
        with monkeypatch.context() as patch:
            failing = FailingOnce(patch, folder, number, (errno.EIO, errno.ENOSPC)[number % 2])
            try:
                written(folder, kind)
            except nl.LazyLoadError:
                done = False
            else:
                done = failing.calls < number
        path = folder / KINDS[kind][0]
        assert is_whole(read(path), had_old=had_old), number
        left = set(os.listdir(folder)) - {path.name}
        assert not left, (number, left)
    assert number > 5


@kinds
@pytest.mark.parametrize("had_old", [False, True])
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, kind, had_old, monkeypatch):
    """What was written after the last fsync is what a power cut loses."""
    if had_old:
        written(tmp_path, kind, OLD)
    disk, named = {}, []
    sync, move = os.fsync, atomic_write._move

    def fsync(handle):
        sync(handle)
        place = os.readlink(f"/proc/self/fd/{handle}") if os.path.isdir("/proc/self/fd") else None
        if place is not None and os.path.isfile(place):
            with open(place, "rb") as file:
                disk[place] = file.read()
        elif place is not None:
            disk[place] = sorted(os.listdir(place))

    def moved(made, path, aside):
        found = [made] if os.path.isfile(made) else []
        for folder, _, names in os.walk(made):
            assert disk[folder] == sorted(os.listdir(folder))
            found += [os.path.join(folder, name) for name in names]
        for file in found:
            with open(file, "rb") as written_file:
                assert disk[file] == written_file.read(), file
        named.append(len(found))
        move(made, path, aside)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not say which file a handle is of")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(atomic_write, "_move", moved)
    path = written(tmp_path, kind)
    assert len(named) == 1
    assert named[0] >= 1
    assert path.name in disk[str(tmp_path)]  # the name itself, at the end


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import napari_lazyload as nl
from napari_lazyload.exporting import export

folder, name, options, moments = Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3]), sys.argv[4:]
pixels = np.arange(4 * 60 * 50, dtype="u2").reshape(4, 60, 50)
nl.export(pixels[:1], folder / "warm.npy")
for moment in map(int, moments):
    place = folder / str(moment)
    calls = 0

    def counted(call):
        def outer(*args, **more):
            global calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **more)
        return outer

    if not os.fork():
        for one in ("mkdir", "replace", "fsync", "rmdir", "unlink"):
            setattr(os, one, counted(getattr(os, one)))
        nl.export(pixels, place / name, overwrite=True, **options)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems exchange no names")
def test_a_store_is_replaced_without_a_moment_of_neither(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
    if not atomic_write._exchange(str(tmp_path / "a"), str(tmp_path / "b")):
        pytest.skip("this file system exchanges no names")
    path = written(tmp_path, "store", OLD)
    moved, replace = [], os.replace
    monkeypatch.setattr(
        os, "replace", lambda *names: moved.extend(map(str, names)) or replace(*names)
    )
    np.testing.assert_array_equal(read(written(tmp_path, "store")), PIXELS)
    assert str(path) not in moved


@unix
@pytest.mark.parametrize(
    ("kind", "exchange"),
    [*((kind, True) for kind in KINDS), ("store", False)],  # others are one file, or as a store
)
def test_a_killed_export_costs_nothing_and_the_next_one_clears_up(
    tmp_path, kind, exchange, monkeypatch
):
    name, options = KINDS[kind]
    many = int(os.environ.get("NAPARI_LAZYLOAD_KILLS", "0"))
    moments = range(1, many + 1) if many else range(3, 24, 5)
    code = KILLED if exchange else KILLED.replace("    if not os.fork", _NO_EXCHANGE)
    for moment in moments:
        (tmp_path / str(moment)).mkdir()
        written(tmp_path / str(moment), kind, OLD)
    arguments = [str(tmp_path), name, repr(options), *map(str, moments)]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], check=True, timeout=100
    )
    left = 0
    for moment in moments:
        place = tmp_path / str(moment)
        beside = [found for found in os.listdir(place) if found != name]
        left += len(beside)
        pixels = read(place / name)
        if pixels is None:  # killed between two renames: the old one is beside
            assert not exchange
        else:
            assert is_whole(pixels, had_old=True)
        atomic_write.clear_leftovers(str(place / name))
        assert os.listdir(place) == [name]
        assert is_whole(read(place / name), had_old=True)
        np.testing.assert_array_equal(read(written(place, kind)), PIXELS)
        assert os.listdir(place) == [name]
    assert left > 0


_NO_EXCHANGE = """
    export.atomic_target.__globals__["_exchange"] = lambda *_: False
    if not os.fork"""


def test_an_old_target_that_is_put_back_is_not_written_over_unasked(tmp_path):
    path = written(tmp_path, "store", OLD)
    hidden = tmp_path / ".out.ome.zarr.partial-0000000a"
    hidden.mkdir()
    gone = atomic_write._this_process() | {"pid": 2**22 + 1}
    (hidden / "owner.json").write_text(json.dumps(gone))
    path.rename(hidden / "replaced")
    written_pixels = []
    with pytest.raises(nl.ExportError, match="exists already"):
        nl.export(PIXELS, path, progress=lambda *_: written_pixels.append(0))
    assert not written_pixels
    np.testing.assert_array_equal(read(path), OLD)
    assert os.listdir(tmp_path) == [path.name]


def test_what_others_write_or_own_is_left_alone(tmp_path):
    target = tmp_path / "out.npy"
    own = atomic_write._this_process()
    owners = {
        "running": own,
        "elsewhere": own | {"host": f"{platform.node()} 0", "pid": 2**22 + 1},
        "gone": own | {"pid": 2**22 + 1},
        "another": own | {"started": own["started"] - 100},
    }
    for number, (name, owner) in enumerate(owners.items()):
        hidden = tmp_path / f".out.npy.partial-{number:08x}"
        hidden.mkdir()
        (hidden / "owner.json").write_text(json.dumps(owner))
        (hidden / name).touch()
    foreign = [tmp_path / ".out.npy.partial-0000000a", tmp_path / ".out.npy.partial-mine"]
    for folder in foreign:
        folder.mkdir()
        (folder / "file").touch()
    nl.export(PIXELS, target)
    left = {name for folder in tmp_path.iterdir() if folder.is_dir() for name in os.listdir(folder)}
    assert left == {"owner.json", "running", "elsewhere", "file"}
    assert not psutil.pid_exists(2**22 + 1)


def test_an_owner_that_was_not_named_yet_owns_nothing(tmp_path):
    hidden = tmp_path / ".out.npy.partial-0000000a"
    hidden.mkdir()
    (hidden / "owner.json.new").touch()
    nl.export(PIXELS, tmp_path / "out.npy")
    assert os.listdir(tmp_path) == ["out.npy"]


def test_who_writes_is_on_the_disk_before_anything_is_moved_in(tmp_path, monkeypatch):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not say which file a handle is of")
    synced, sync = [], os.fsync

    def fsync(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    hidden = str(tmp_path / ".out.npy.partial-0000000a")
    atomic_write._make_owned(hidden)
    assert synced == [f"{hidden}/owner.json.new", hidden, str(tmp_path)]
    assert os.listdir(hidden) == ["owner.json"]


def test_a_disk_that_does_not_confirm_the_name_is_told(tmp_path, monkeypatch):
    synced, sync = [], atomic_write._sync_folder

    def failing(folder):
        synced.append(folder)
        if len(synced) > 1 and folder == str(tmp_path) and (tmp_path / "out.npy").exists():
            raise OSError(errno.EIO, "no disk")
        sync(folder)

    monkeypatch.setattr(atomic_write, "_sync_folder", failing)
    with pytest.raises(nl.ExportError, match="is written, and the disk did not confirm its name"):
        nl.export(PIXELS, tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), PIXELS)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("heals", [False, True])
def test_an_old_store_that_cannot_be_put_back_is_kept(tmp_path, monkeypatch, error, heals):
    path = written(tmp_path, "store", OLD)
    replace, failed = os.replace, []

    def failing(source, target):
        moves_in = str(target) == str(path)
        if moves_in and (not heals or len(failed) < 2):  # the new one, and putting back
            failed.append(source)
            raise error
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_write, "_exchange", lambda *_: False)
        patch.setattr(os, "replace", failing)
        if heals or not isinstance(error, OSError):
            with pytest.raises((nl.ExportError, KeyboardInterrupt)):
                written(tmp_path, "store")
        else:
            with (
                pytest.warns(nl.LazyLoadWarning, match="is kept as"),
                pytest.raises(nl.ExportError),
            ):
                written(tmp_path, "store")
    atomic_write.clear_leftovers(str(path))
    if not heals:  # the process that owns it still runs: by hand, as the message says
        (aside,) = tmp_path.glob(".out.ome.zarr.partial-*/replaced")
        replace(aside, path)
    np.testing.assert_array_equal(read(path), OLD)


def test_what_cannot_be_removed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_write.shutil, "rmtree", lambda *_args, **_more: None)
    with pytest.warns(nl.LazyLoadWarning, match=r"\.out\.npy\.partial-.* remove it by hand"):
        nl.export(PIXELS, tmp_path / "out.npy")
