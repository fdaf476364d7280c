"""Run a command on the screen there is, or on a virtual one (Xvfb) where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def has_screen() -> bool:
    """Whether a window can open: on Linux, whether X or Wayland names a display."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(command: list[str]) -> int:
    """Run `command`; return its exit code."""
    if not has_screen():
        xvfb = shutil.which("xvfb-run")
        if xvfb is None:
            print(
                "There is no display and no xvfb-run: `python3 tools/run.py` says what to install.",
                file=sys.stderr,
            )
            return 1
        # 24-bit color: with fewer, Qt finds no usable OpenGL format.
        command = [xvfb, "-a", "-s", "-screen 0 1280x1024x24", *command]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
