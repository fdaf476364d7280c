"""Measure the layout: `python3 tools/house.py` prints what the architecture page promises.

Standard library alone. `tests/test_house.py` holds each figure against its limit.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "napari_lazyload"

# Words that a newcomer would have to learn, where the field has its own.
RETIRED = (
    "colour",
    "centre",
    "grey",
    "put up with",
    "turned round",
    "turn round",
    "dear",
    "fares",
    "slip of the pen",
)
RETIRED_NAMES = (
    "Opened",
    "opened_binary",
    "Pace",
    "Drawing",
    "Fetch",
    "Deliver",
    "SharedRun",
    "_Flight",
    "lend",
    "lent",
    "Note",
    "Piece",
    "piece",
    "_Filling",
    "Filling",
    "Patience",
    "SecondLook",
    "Reading",
    "unlooked",
    "Motion",
    "stand_in",
    "Approximate",
    "Rung",
    "allowance",
    "anew",
    "steps_for",
    "ThinChunk",
    "OverviewSource",
    "made_from",
    "Cut",
    "cut_of",
    "Look",
    "Feed",
    "Course",
    "Band",
    "_Way",
    "without_ones",
    "Extremes",
    "world_of",
    "Wish",
    "Found",
    "find_elsewhere",
    "Links",
    "Place",
    "Finding",
    "PlateFinding",
    "WellBook",
    "deny",
    "denied",
    "Entry",
    "_Inside",
    "fetcher",
    "Layout",
    "told_names",
    "Head",
    "Header",
    "surprises",
    "make_groups",
    "lead_axes",
    "file_stamp",
    "stamp_now",
    "stamp_at_opening",
    "refusal",
    "unreadable",
    "GiveBack",
    "give_back",
    "said",
    "_said",
    "told",
    "_told",
    "_alone",
    "_placed",
    "_look",
)


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def modules() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def trees() -> dict[Path, ast.Module]:
    """Every file, parsed."""
    return {path: ast.parse(path.read_text("utf-8")) for path in modules()}


def statements(tree: ast.AST) -> int:
    """Count statements; a docstring is one."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree))


def code_lines(path: Path, tree: ast.AST) -> int:
    """Count lines with code on them: no blank line, no comment, no docstring."""
    lines = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    text = path.read_text("utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        text_alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if text_alone and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def count(tree: ast.AST, kinds: tuple[type[ast.AST], ...]) -> int:
    """Count nodes of some kinds."""
    return sum(isinstance(node, kinds) for node in ast.walk(tree))


def folder_sizes() -> Counter[Path]:
    """Count the Python files of each folder, sub-folders left out."""
    return Counter(path.parent.relative_to(PACKAGE) for path in modules())


def top_entries() -> list[str]:
    """Name what a visitor sees first."""
    hidden = ("__pycache__", ".")
    return sorted(path.name for path in PACKAGE.iterdir() if not path.name.startswith(hidden))


def probes() -> list[str]:
    """Name the lines outside core/source.py that look for an ability of a source or a chunk."""
    found = []
    asked = r"\b(?:getattr|hasattr)\([^()]*\b(?:source|chunk|array\.source)\b[^()]*,\s*\""
    for path in modules():
        if path == PACKAGE / "core" / "source.py":
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(asked, line):
                found.append(f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}")
    return found


def retired_words() -> Counter[str]:
    """Count the words and names that the field has other ones for."""
    found: Counter[str] = Counter()
    for path in modules():
        text = path.read_text("utf-8")
        names = Counter(
            token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.NAME
        )
        for name in RETIRED_NAMES:
            found[name] += names[name]
        for name, times in names.items():
            if re.search("colour|centre|grey", name, re.IGNORECASE):
                found[name] += times
        for word in RETIRED[3:]:
            found[word] += len(re.findall(rf"\b{word}\b", text))
    return +found


def linter_lines() -> int:
    """Count the lines of import-linter's lists that name a module."""
    text = (PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8")
    table = text[text.index("[tool.importlinter]") :]
    lists = re.findall(r"^(?:layers|source_modules) = \[(.*?)\]$", table, re.MULTILINE | re.DOTALL)
    return sum(bool(line.strip()) for text in lists for line in text.splitlines())


def figures() -> dict[str, float]:
    """Measure everything."""
    parsed = trees()
    code = sum(code_lines(path, tree) for path, tree in parsed.items())
    ternaries = sum(count(tree, (ast.IfExp,)) for tree in parsed.values())
    comprehensions = sum(count(tree, COMPREHENSIONS) for tree in parsed.values())
    return {
        "entries in the top folder": len(top_entries()),
        "files in the largest folder": max(folder_sizes().values()),
        "lines in import-linter's lists": linter_lines(),
        "probes for abilities": len(probes()),
        "statements": sum(map(statements, parsed.values())),
        "code lines": code,
        "ternaries per 100 code lines": round(100 * ternaries / code, 2),
        "comprehensions per 100 code lines": round(100 * comprehensions / code, 2),
        "retired words": sum(retired_words().values()),
    }


def print_rooms() -> None:
    """Print statements, and ternaries and comprehensions per 100 code lines, of each room."""
    rooms: dict[str, list[int]] = {}
    for path, tree in trees().items():
        sums = rooms.setdefault(str(path.parent.relative_to(PACKAGE)), [0, 0, 0, 0])
        sums[0] += statements(tree)
        sums[1] += code_lines(path, tree)
        sums[2] += count(tree, (ast.IfExp,))
        sums[3] += count(tree, COMPREHENSIONS)
    for room, (number, code, ternaries, comprehensions) in sorted(rooms.items()):
        densities = f"{100 * ternaries / code:8.2f}{100 * comprehensions / code:8.2f}"
        print(f"{room:28}{number:>8}{densities}")


def main() -> None:
    """Print the figures, and with ``-v`` what stands behind them."""
    for name, value in figures().items():
        print(f"{name:36}{value:>10}")
    if "-v" in sys.argv:
        print(*probes(), *retired_words().most_common(), sep="\n")
        print_rooms()


if __name__ == "__main__":
    main()
