"""The command line as a user meets it: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lazyload as nl
from helpers.ome_stores import pyramid, write_image
from napari_lazyload import sample_data
from napari_lazyload.cli import app, common
from napari_lazyload.core.errors import RegionError
from napari_lazyload.loading import cache
from napari_lazyload.sources.folder import open_folder

HEAVY = {"numpy", "dask", "zarr", "pandas", "napari", "qtpy", "skimage", "rich.progress"}
GUI = {"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt6", "PySide6", "PyQt5"}


try:
    RUNNER = CliRunner(mix_stderr=False)
except TypeError:  # newer ones never mix them
    RUNNER = CliRunner()


def run(*words):
    """Run the command in this process."""
    return RUNNER.invoke(app.app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return sample_data.make_ome_zarr(tmp_path_factory.mktemp("cells") / "cells.ome.zarr", size=64)


@pytest.fixture
def folder(tmp_path, write_folder):
    write_folder(tmp_path / "a", 6)
    return tmp_path / "a"


def pixels_of(path, number=0):
    with nl.open_dataset(path) as dataset:
        return np.asarray(dataset.images[number].data)


# --- start-up

IMPORTED = """
import sys
from napari_lazyload.cli.app import app
try:
    app({words!r})
except SystemExit as end:
    assert not end.code, end.code
print(sorted({names!r} & set(sys.modules)), file=sys.stderr)
"""


def imported(names, *words):
    """Return which packages running the command imports, in a process of its own."""
    code = IMPORTED.format(words=[str(word) for word in words], names=names)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "words", [["--help"], ["crop", "--help"], ["info", "--help"]], ids=" ".join
)
def test_help_imports_nothing_heavy(words):
    assert imported(HEAVY, *words) == "[]"


def test_info_and_crop_need_neither_qt_nor_napari(folder, tmp_path):
    assert imported(GUI, "info", folder) == "[]"
    assert imported(GUI, "crop", folder, tmp_path / "b.npy", "--region", "y=0:8") == "[]"


@pytest.mark.parametrize("command", ["info", "crop", "convert", "view", "status", "demo"])
def test_every_command_has_help_and_those_for_files_have_examples(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    if command not in ("status", "demo"):
        assert f"napari-lazyload {command} " in done.stdout
    assert command in run("--help").stdout


# --- info


def test_info_as_json_says_all_and_reads_no_pixel(cells):
    before = cache.shared.snapshot()["reads"]
    done = run("info", cells, "--json")
    assert cache.shared.snapshot()["reads"] == before
    assert (done.exit_code, done.stderr) == (0, "")
    about = json.loads(done.stdout)
    assert about["path"] == str(cells)
    assert about["warnings"] == []
    image, nuclei = about["images"]
    assert (image["kind"], nuclei["kind"]) == ("image", "labels")
    assert (image["axes"], image["shape"], image["dtype"]) == (
        ["c", "z", "y", "x"],
        [2, 32, 64, 64],
        "uint16",
    )
    assert image["nbytes"] == 2 * 32 * 64 * 64 * 2
    assert image["channels"] == ["DNA", "membranes"]
    assert image["scale"] == [1.0, 1.0, 0.5, 0.5]
    assert image["units"] == [None, "micrometer", "micrometer", "micrometer"]
    assert [level["shape"] for level in image["levels"]] == [
        [2, 32, 64, 64],
        [2, 32, 32, 32],
        [2, 32, 16, 16],
    ]
    assert [level["scale"][-1] for level in image["levels"]] == [0.5, 1.0, 2.0]
    assert image["levels"][0]["chunks"] == [1, 32, 64, 64]
    assert image["levels"][1]["nbytes"] == 2 * 32 * 32 * 32 * 2
    assert [level["stored"] for level in image["levels"]] == [True] * 3


def test_info_as_text(cells):
    done = run("info", cells)
    assert done.exit_code == 0
    for words in (
        str(cells),
        "image 0: cells",
        "labels 1: ",
        "2 x 32 x 64 x 64 uint16 (c, z, y, x), 512 KiB",
        "y 0.5 micrometer",
        "DNA, membranes",
        "level 1: 2 x 32 x 32 x 32, 128 KiB, 2 chunks of 1 x 32 x 32 x 32",
    ):
        assert words in done.stdout
    assert done.stderr == ""


def test_info_of_a_channel_without_a_name_has_no_line_for_it(tmp_path):
    write_image(tmp_path / "a.zarr", pyramid((1, 16, 16), 1), "cyx")
    assert "channel:" not in run("info", tmp_path / "a.zarr").stdout


def test_info_says_what_is_wrong(tmp_path, write_folder):
    write_folder(tmp_path / "a", 3)
    write_folder(tmp_path / "a" / "b", 2, shape=(8, 9))
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    done = run("info", tmp_path / "a", "--set", "subfolders=separate", "--set", "headers=all")
    assert done.exit_code == 0
    assert "broken.png" in done.stdout
    about = json.loads(run("info", tmp_path / "a", "--json", "--set", "subfolders=ignore").stdout)
    assert len(about["images"]) == 1
    assert len(about["warnings"]) == len(set(about["warnings"])) > 0


def test_info_reads_all_headers_first(tmp_path, write_folder, monkeypatch):
    write_folder(tmp_path, 300)
    (tmp_path / "img_7.png").write_bytes((tmp_path / "img_7.png").read_bytes()[:20])
    monkeypatch.setattr(open_folder, "header_seconds", lambda _listed: 0)
    with nl.open_dataset(tmp_path) as dataset:
        assert dataset.problems() == {}
    warnings = json.loads(run("info", tmp_path, "--json").stdout)["warnings"]
    assert [line[:6] for line in warnings] == ["row 7:"]


def test_info_of_a_raw_file_that_the_user_describes(tmp_path):
    np.arange(600, dtype=">u2").tofile(tmp_path / "camera.raw")
    told = run("info", tmp_path / "camera.raw")
    assert told.exit_code == 1
    done = run(
        "info", tmp_path / "camera.raw", "--set", "dtype=>u2", "--set", "shape=6,10,10", "--json"
    )
    assert json.loads(done.stdout)["images"][0]["shape"] == [6, 10, 10]


def test_numbers_that_json_lacks_are_null(tmp_path, monkeypatch):
    from napari_lazyload.cli.info import as_json

    assert json.loads(as_json({"a": (1.0, float("nan")), "b": [float("inf"), None, "x"]})) == {
        "a": [1.0, None],
        "b": [None, None, "x"],
    }


# --- crop and convert


def test_crop_writes_the_region_and_prints_where(cells, tmp_path):
    target = tmp_path / "b.npy"
    done = run(
        "crop",
        cells,
        target,
        "--region",
        "c=0:1,z=10:20",
        "--region",
        "y=:33,x=-8:",
        "--image",
        "0",
    )
    assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    assert (
        done.stderr
        == "1 x 10 x 33 x 8 uint16: result 5.2 KiB, reads 256 KiB in 1 chunk, of 512 KiB\n"
    )
    np.testing.assert_array_equal(
        np.load(target), pixels_of(cells)[:1, 10:20, :33, -8:], strict=True
    )


def test_crop_of_a_level_into_another_type_says_first_what_is_lost(cells, tmp_path):
    target = tmp_path / "b.npy"
    done = run(
        "crop",
        cells,
        target,
        "--region",
        "z=3",
        "--level",
        1,
        "--dtype",
        "float16",
        "--image",
        0,
        "--quiet",
    )
    assert done.exit_code == 0
    assert done.stderr.startswith("Warning: As float16, whole numbers beyond 2048 are rounded")
    assert done.stderr.count("\n") == 1
    with nl.open_dataset(cells) as dataset:
        level = np.asarray(dataset.images[0].levels[1])
    np.testing.assert_array_equal(np.load(target), level[:, 3:4].astype("f2"), strict=True)


def test_crop_in_world_coordinates(cells, tmp_path):
    assert (
        run(
            "crop", cells, tmp_path / "b.npy", "--region", "y=0.01mm:15um,z=5", "--image", "0"
        ).exit_code
        == 0
    )
    # Pixel 20 has its centre at 10 micrometers.
    np.testing.assert_array_equal(
        np.load(tmp_path / "b.npy"), pixels_of(cells)[:, 5:6, 20:31], strict=True
    )


@pytest.mark.parametrize("wanted", ["1", "nuclei"])
def test_an_image_is_chosen_by_number_or_name(cells, tmp_path, wanted):
    name = json.loads(run("info", cells, "--json").stdout)["images"][1]["name"]
    done = run("crop", cells, tmp_path / "b.npy", "--image", name if wanted == "nuclei" else wanted)
    assert done.exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), pixels_of(cells, 1), strict=True)
    done = run("crop", cells, tmp_path / "c.npy", "--image", "nope")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is no image 'nope'; there are 0 (" in done.stderr


def test_the_first_of_several_images_is_taken_and_that_is_said(cells, tmp_path):
    done = run("convert", cells, tmp_path / "b.ome.zarr", "--quiet")
    assert done.exit_code == 0
    assert done.stderr.startswith("Warning: 2 images: taking the first")


@pytest.mark.parametrize("more", [[], ["--shards"]], ids=["chunks", "shards"])
def test_convert_writes_a_store_that_opens_as_the_same(folder, tmp_path, more):
    target = tmp_path / "b.ome.zarr"
    done = run("convert", folder, target, *more)
    assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    np.testing.assert_array_equal(pixels_of(target), pixels_of(folder), strict=True)


def test_crop_into_a_tiff_and_a_store(folder, tmp_path):
    import tifffile

    expected = pixels_of(folder)[2:4, 3:9]
    for name in ("b.ome.tif", "b.ome.zarr"):
        assert run("crop", folder, tmp_path / name, "--region", "frame=2:4,y=3:9").exit_code == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.ome.tif"), expected, strict=True)
    np.testing.assert_array_equal(pixels_of(tmp_path / "b.ome.zarr"), expected, strict=True)


def test_what_exists_is_kept_unless_it_shall_go(folder, tmp_path):
    target = tmp_path / "b.npy"
    target.write_bytes(b"mine")
    done = run("crop", folder, target, "--region", "y=0:4")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "exists already; --overwrite replaces it" in done.stderr
    assert target.read_bytes() == b"mine"
    assert run("crop", folder, target, "--region", "y=0:4", "--overwrite").exit_code == 0
    assert np.load(target).shape == (6, 4, 32)


# --- errors


def one_line(done, code, words):
    assert done.exit_code == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1


def test_errors_are_one_line_and_nothing_is_written(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    one_line(run("info", tmp_path / "nowhere"), 1, "does not exist")
    one_line(run("info", folder, "--set", "banana=1"), 1, "banana")
    one_line(run("info", folder, "--set", "format=banana"), 1, "format must be one of")
    one_line(
        run("crop", folder, out / "b.npy", "--region", "z=0:3"),
        1,
        "axis 'z'; the image has 'frame', 'y', 'x'",
    )
    one_line(run("crop", folder, out / "b.npy", "--region", "y=99:100"), 1, "empty along axis 'y'")
    one_line(run("crop", folder, out / "b.npy", "--level", 7), 1, "level must be 0 to 0, got 7")
    one_line(run("crop", folder, out / "b.npy", "--region", "y=1um:2um"), 1, "names no unit")
    one_line(run("crop", folder, tmp_path / "gone" / "b.npy", "--quiet"), 1, "gone")
    assert list(out.iterdir()) == []


@pytest.fixture
def broken(folder):
    """Return a folder of six images whose second one is cut short."""
    path = sorted(folder.iterdir())[1]
    path.write_bytes(path.read_bytes()[:-20])
    return folder


@pytest.mark.parametrize("command", ["crop", "convert"])
def test_a_file_that_cannot_be_read_stops_a_command_which_names_the_option(
    broken, tmp_path, command
):
    done = run(command, broken, tmp_path / "a.ome.zarr", "-q")
    assert done.exit_code == 1
    assert "--on-error blank writes zeros there, skip leaves it out" in done.stderr
    assert not (tmp_path / "a.ome.zarr").exists()


@pytest.mark.parametrize("command", ["crop", "convert"])
@pytest.mark.parametrize(
    ("on_error", "left", "words"), [("blank", 6, "hold blanks"), ("skip", 5, "are left out")]
)
def test_a_command_goes_on_without_what_cannot_be_read_and_says_which(
    broken, tmp_path, command, on_error, left, words
):
    done = run(command, broken, tmp_path / "a.npy", "-q", "--on-error", on_error)
    assert done.exit_code == 0
    assert "1 of 6 positions along" in done.stderr
    assert words in done.stderr
    assert ": 1; the first: " in done.stderr
    assert len(np.load(tmp_path / "a.npy")) == left


def test_a_file_that_breaks_in_the_middle_leaves_nothing(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    broken = folder / "img_4.png"
    broken.write_bytes(broken.read_bytes()[:60])
    for name in ("b.npy", "b.ome.zarr", "b.ome.tif"):
        done = run("convert", folder, out / name, "--quiet")
        assert done.exit_code == 1
        assert "img_4.png" in done.stderr.splitlines()[-1]
        assert list(out.iterdir()) == []


USAGE = {
    "unknown command": (["banana"], "banana"),
    "no path": (["info"], "PATH"),
    "no target": (["crop", "a"], "OUT"),
    "no axis": (["crop", "a", "b.npy", "--region", "1:2"], "expected AXIS=START:STOP"),
    "three ends": (["crop", "a", "b.npy", "--region", "z=1:2:3"], "expected AXIS=START:STOP"),
    "no numbers": (["crop", "a", "b.npy", "--region", "z=a:b"], "no position"),
    "half a pixel": (["crop", "a", "b.npy", "--region", "z=1.5:3"], "whole numbers"),
    "not a number": (["crop", "a", "b.npy", "--region", "z=nan:3"], "no position"),
    "twice": (["crop", "a", "b.npy", "--region", "z=1:2", "--region", "z=3:4"], "comes twice"),
    "empty": (["crop", "a", "b.npy", "--region", ""], "expected AXIS=START:STOP"),
    "dtype": (["crop", "a", "b.npy", "--dtype", "banana"], "no type of pixels"),
    "text": (["crop", "a", "b.npy", "--dtype", "S3"], "no type of pixels"),
    "level": (["crop", "a", "b.npy", "--level", "fine"], "integer"),
    "suffix": (["crop", "a", "b.jpg"], ".ome.zarr, .zarr,"),
    "no name": (["convert", "a", ".."], "says what to write"),
    "option": (["info", "a", "--set", "banana"], "NAME=VALUE"),
}


@pytest.mark.parametrize(("words", "message"), USAGE.values(), ids=USAGE)
def test_a_command_that_is_written_wrongly_ends_with_2(words, message):
    done = run(*words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


# --- regions

REGIONS = {
    "z=10:20": {"z": slice(10, 20)},
    "z=10:20,y=:512, x = 3: ": {"z": slice(10, 20), "y": slice(None, 512), "x": slice(3, None)},
    "t=5": {"t": slice(5, 6)},
    "t=-1": {"t": slice(-1, None)},
    "t=-3": {"t": slice(-3, -2)},
    "t=:": {"t": slice(None)},
    "t=1e3:2000": {"t": slice(1000, 2000)},
    "x=-10:-2": {"x": slice(-10, -2)},
    "y=1um:2um": {"y": (2, 5)},
    "y=1µm:": {"y": (2, None)},
    "y=0.001 mm : 2000nm": {"y": (2, 5)},
    "y=1um": {"y": (2, 3)},
    "y=-1um:1": None,
    "y=1s:2s": None,
    "y=1quux:2quux": None,
    "x=1um:2um": None,
    "w=1um:2um": None,
}


@pytest.mark.parametrize(("text", "expected"), REGIONS.items(), ids=REGIONS)
def test_a_typed_region_means(text, expected):
    from napari_lazyload.arrays.image import Image
    from napari_lazyload.testing.sources import RecordingSource

    source = RecordingSource(
        np.zeros((9, 9, 9), "u1"),
        (1, 9, 9),
        axes="tyx",
        scale=(1.0, 0.5, 0.5),
        units=("s", "micrometer", None),
    )
    ranges = common.parse_region([text])
    if expected is None:
        with pytest.raises(RegionError, match=r"axis '[ywx]'"):
            common.image_region(Image(source), ranges)
    else:
        assert common.image_region(Image(source), ranges) == expected


# --- the documentation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "command-line.md"


def test_the_commands_of_the_documentation_run_as_they_stand(
    cells, tmp_path, write_folder, monkeypatch
):
    write_folder(tmp_path / "experiment")
    shutil.copytree(cells, tmp_path / "cells.ome.zarr")
    np.zeros((5, 64, 64), "u2").tofile(tmp_path / "camera.raw")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [line.partition(" | ")[0] for block in blocks for line in block.splitlines()]
    assert len(commands) >= 8
    for command in commands:
        program, *words = shlex.split(command)
        done = run(*words)
        assert (program, done.exit_code) == ("napari-lazyload", 0), done.output


# --- status


def test_status(folder):
    with nl.open_dataset(folder) as dataset:
        found = json.loads(run("status", "--json").stdout)
        assert found["datasets"][-1]["path"] == dataset.path
        text = run("status").stdout
    assert found.keys() == nl.status().keys()
    assert str(folder) in text
    assert "numpy       loaded" in text


# --- a real process


def start(*words, **more):
    code = "from napari_lazyload.cli.app import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], **more)


@pytest.fixture
def long_work(tmp_path):
    """A file that takes a while to convert: 1 GiB of zeros in a sparse file."""
    path = tmp_path / "vol_64x2048x4096_uint16.raw"
    with path.open("wb") as file:
        file.truncate(64 * 2048 * 4096 * 2)
    return path


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console, pytest's too"
)
@pytest.mark.parametrize("name", ["b.ome.zarr", "b.npy", "b.ome.tif"])
def test_ctrl_c_ends_with_130_and_leaves_nothing(long_work, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    process = start(
        "convert", long_work, out / name, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while (
            not any(file.is_file() and file.stat().st_size for file in out.rglob("*"))
            and process.poll() is None
        ):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, printed) == (130, "")
    assert said.splitlines()[-1] == "Cancelled; nothing was written."
    assert "Traceback" not in said
    assert list(out.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no pseudo-terminals that Python opens"
)
@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_shows_a_bar_and_a_pipe_does_not(folder, tmp_path, quiet):
    import pty

    target = tmp_path / "b.npy"
    ours, theirs = pty.openpty()
    more = ["--quiet"] if quiet else []
    process = start(
        "crop",
        folder,
        target,
        *more,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed.decode()) == (0, f"{target}\n")
    assert (b"100%" in shown, b"result" in shown) == (not quiet, not quiet)


def test_results_that_nobody_reads_to_the_end_are_no_error(folder):
    process = start("info", folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr as said:
        assert b"Traceback" not in said.read()
    process.wait(60)


def test_the_version():
    assert run("--version").stdout == f"napari-lazyload {version('napari-lazyload')}\n"
    assert imported(HEAVY, "--version") == "[]"


# --- names that would do something to a terminal

ATTACK = "a\x1b]0;title\x07\r\x9b2J\u202egnp.\u2028b"
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


@pytest.fixture
def hostile(tmp_path):
    """Return a store whose channel has a name that would do something to a terminal."""
    path = sample_data.make_ome_zarr(tmp_path / "cells.ome.zarr", size=64)
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"]["ome"]["omero"]["channels"][0]["label"] = ATTACK
    (path / "zarr.json").write_text(json.dumps(meta))
    return path


def test_names_do_nothing_to_a_terminal(hostile):
    text = run("info", hostile).stdout
    assert not HIDDEN.search(text)
    assert r"a\x1b]0;title\x07\r\x9b2J\u202egnp.\u2028b" in text


def test_names_in_json_are_escaped_and_exact(hostile):
    text = run("info", hostile, "--json").stdout
    assert not HIDDEN.search(text)
    assert json.loads(text)["images"][0]["channels"][0] == ATTACK


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_file_names_in_errors_and_warnings_do_nothing_to_a_terminal(broken, tmp_path):
    for path in sorted(broken.iterdir())[1:2]:
        path.rename(path.with_name(f"\x1b[2J\u202e{path.name}"))
    for words in (["crop"], ["convert"], ["crop", "--on-error", "blank"]):
        done = run(words[0], broken, tmp_path / "a.npy", "--overwrite", *words[1:])
        assert not HIDDEN.search(done.stderr)
        assert r"\x1b[2J\u202e" in done.stderr


def test_a_path_in_an_error_does_nothing_to_a_terminal(tmp_path):
    done = run("info", tmp_path / "gone\x1b[2J\u202e")
    assert done.exit_code == 1
    assert not HIDDEN.search(done.stderr)
    assert r"gone\x1b[2J\u202e" in done.stderr
