"""The one way in: `tools/run.py demo` shows the plugin, `tools/run.py test` runs every check.

Standard library alone, so that it starts on a bare machine. It looks for what Qt and a virtual
screen need from the system, makes an environment of its own with tox in it (.tox/.run), and leaves
the rest to tox.ini.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from with_screen import has_screen

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tox" / ".run"
REQUIREMENTS = ["tox>=4.21", "tox-uv>=1.16"]
PYTHONS = ["3.11", "3.12", "3.13"]
CHECKS = ["lint", "types", "docs", "headless", "lowest"]
PICTURE = ROOT / "demo.png"
PYTEST_RESULT = re.compile(r"^=+ .*\b(passed|failed|errors?|skipped|no tests ran)\b.* in [\d.]+s")

# What Qt's wheels load from a Linux system, and the Debian package that has it.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
FONTS = [
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".fonts",
    Path.home() / ".local/share/fonts",
]


def loads(library: str) -> bool:
    """Whether the system has a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing() -> dict[str, str]:
    """Name what the system lacks, each with the Debian package that brings it."""
    lacks = {}
    if sys.platform == "linux":
        lacks = {library: package for library, package in LIBRARIES.items() if not loads(library)}
        if not any(
            path.suffix in (".otf", ".ttf") for folder in FONTS for path in folder.rglob("*")
        ):
            lacks["a font"] = "fonts-dejavu-core"
        if not has_screen():
            lacks |= {
                name: package
                for name, package in {"xvfb-run": "xvfb", "xauth": "xauth"}.items()
                if not shutil.which(name)
            }
    if importlib.util.find_spec("ensurepip") is None and not has_tools():
        lacks["ensurepip"] = f"python3.{sys.version_info.minor}-venv"
    return lacks


def prepare_system() -> None:
    """Install what is missing where this may be done, else say exactly how and leave."""
    lacks = missing()
    if not lacks:
        return
    print(f"The system lacks {', '.join(lacks)}.", flush=True)
    if shutil.which("apt-get") is None:
        sys.exit("Install these with the package manager of this system, then run this again.")
    packages = " ".join(sorted(lacks.values()))
    install = f"apt-get update; apt-get install -y --no-install-recommends {packages}"
    if os.geteuid() != 0:
        become_root = "sudo sh -c" if shutil.which("sudo") else "su -c"
        sys.exit(f"Run this once, then run this again:\n\n    {become_root} '{install}'\n")
    print(f"Running {install}", flush=True)
    subprocess.run(
        ["sh", "-c", install], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False
    )
    importlib.invalidate_caches()
    if still := missing():
        sys.exit(f"The system still lacks {', '.join(still)}: see apt's messages above.")


def tool(name: str) -> Path:
    """Return the path of a program of the private environment."""
    return TOOLS / ("Scripts" if sys.platform == "win32" else "bin") / name


def has_tools() -> bool:
    """Whether the private environment is there and works."""
    command = [tool("python"), "-c", "import tox, tox_uv"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def prepare_tools() -> None:
    """Make the private environment with tox."""
    if has_tools():
        return
    print("Making .tox/.run with tox in it", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", TOOLS], check=True)
    install = [tool("python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*install, *REQUIREMENTS], check=True)


def show_pyenv() -> None:
    """Let pyenv, if there is one, show the newest of each Python that the tests need."""
    if shutil.which("pyenv") is None:
        return
    listed = subprocess.run(
        ["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False
    ).stdout.split()
    # Set to one version by pyenv itself when its shim started this file, so that it hides the
    # others.
    shown = [version for version in os.environ.get("PYENV_VERSION", "").split(":") if version]
    for python in PYTHONS:
        releases = [
            version for version in listed if re.fullmatch(re.escape(python) + r"\.\d+", version)
        ]
        if releases and not any(version in releases for version in shown):
            shown.append(max(releases, key=lambda version: int(version.rpartition(".")[2])))
    if shown:
        os.environ["PYENV_VERSION"] = ":".join(shown)


def find_pythons() -> list[str]:
    """Return those of PYTHONS that are on this machine, found as tox-uv finds them."""
    options = ["--system", "--no-project", "--python-preference", "system"]
    command = [tool("uv"), "python", "find", *options]
    present = []
    for python in PYTHONS:
        if subprocess.run([*command, python], capture_output=True, check=False).returncode == 0:
            present.append(python)
        else:
            print(f"Python {python} is not on this machine: its tests are skipped.")
    return present


def run_tox(environments: list[str], arguments: list[str]) -> int:
    """Run tox; after its report, repeat each closing line of pytest as pytest wrote it."""
    chosen = ["--skip-missing-interpreters", "false", "-e", ",".join(environments)]
    command = [tool("tox"), "run", *chosen, "--", *arguments]
    closing: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        environment = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            if start := re.match(r"(\S+): commands\[", line):
                environment = start[1]
            elif PYTEST_RESULT.search(line):
                closing += [f"{environment}:", line.rstrip()]
    print("", *closing, sep="\n", flush=True)
    return process.returncode


def test(options: argparse.Namespace) -> int:
    """Run the checks."""
    if options.quick:
        return run_tox([f"py3{sys.version_info.minor}"], options.pytest)
    pythons = find_pythons()
    # The oldest there is tries the lower bounds, the newest one the newest versions; those
    # between only on demand.
    os.environ["NAPARI_LAZYLOAD_LOWEST_PYTHON"] = pythons[0]
    chosen = pythons if options.all else pythons[-1:]
    return run_tox(
        [*CHECKS, *(f"py{python.replace('.', '')}" for python in chosen)], options.pytest
    )


def demo(_: argparse.Namespace) -> int:
    """Open the window on the sample data, or without a screen render it to a picture."""
    command = [tool("tox"), "run", "-q", "-e", "demo"]
    if has_screen():
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"There is no display: rendering the window to {PICTURE}", flush=True)
    PICTURE.unlink(missing_ok=True)
    code = subprocess.run(
        [*command, "--", "--screenshot", PICTURE], cwd=ROOT, check=False
    ).returncode
    if code == 0:
        print(PICTURE if PICTURE.is_file() else "The demo ended without a picture.")
    return code or int(not PICTURE.is_file())


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Show napari-lazyload, or run its tests.")
    commands = parser.add_subparsers(required=True)
    tests = commands.add_parser(
        "test", help="every check; on the oldest and the newest Python that is here"
    )
    tests.add_argument("--quick", action="store_true", help="the tests on this Python alone")
    tests.add_argument(
        "--all", action="store_true", help="on each Python from 3.11 to 3.13 that is here"
    )
    tests.add_argument("pytest", nargs="*", help="after --: arguments for pytest")
    tests.set_defaults(run=test)
    commands.add_parser("demo", help="napari on the sample data").set_defaults(run=demo)
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run by whatever python3 there is
        this = f"{sys.version.split()[0]} ({sys.executable})"
        sys.exit(f"napari-lazyload needs Python 3.11 or newer; this is {this}.")
    # Packages are fetched, interpreters never.
    os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
    prepare_system()
    prepare_tools()
    show_pyenv()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
