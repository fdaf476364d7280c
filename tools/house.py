"""Measure the layout: `python3 tools/house.py` prints what the architecture page promises.

With ``-v`` it prints what stands behind the figures, too. Standard library alone.
`tests/test_house.py` holds each figure against its limit.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "napari_lazyload"

LONG_FUNCTION = 50
"""Lines of a function, its docstring left out, above which it counts as long."""

RETIRED_PROSE = (
    "a thing of",
    "dear",
    "fares",
    "put up with",
    "slip of the pen",
    "turn round",
    "turned round",
)
"""Turns that readers stumble over where plain English has a common word."""

BRITISH = re.compile("colour|centre|grey", re.IGNORECASE)
"""Identifiers follow NumPy and napari: color, center, gray."""

RETIRED_NAMES = frozenset(
    """
    said _said computed_said level_said told _told told_names _alone _placed _look answered located
    Opened opened_binary refusal unreadable file_stamp stamp_now stamp_at_opening
    Pace Drawing Fetch Deliver want SharedRun _Flight _Filling Filling lend lent Note
    fares in_hand Piece piece GiveBack give_back
    Patience SecondLook second_look Reading unlooked rough comes_soon Motion stand_in Approximate
    Rung _aim _in_two allowance looking anew steps_for ThinChunk OverviewSource made_from
    Cut cut_of Look Feed Course Band _Way without_ones Extremes world_of
    Wish Found find_elsewhere Links Place Finding PlateFinding
    WellBook ome_book deny denied Entry _Inside together fetcher Layout ome_display
    Head Header surprises make_groups lead_axes UNKNOWN PATIENCE raw_several raw_structured
    """.split()  # noqa: SIM905 - as a list it would be a line a name
)
"""Whole identifiers that a newcomer would have to learn, where the field has its own."""

LEGITIMATE = {
    "Entry": "sources/tiff/ifd.py",  # the TIFF specification's own word
    "Header": "sources/binary/fits.py",  # a class of astropy
}
"""Where a retired name is the field's word after all."""

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Module(NamedTuple):
    """A Python file of the package: its path in it, its text, and its tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The name to import it by."""
        parts = (PACKAGE.name, *self.path.with_suffix("").parts)
        return ".".join(parts).removesuffix(".__init__")


@cache
def modules() -> tuple[Module, ...]:
    """Return every Python file of the package, parsed."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        found.append(Module(path.relative_to(PACKAGE), text, ast.parse(text)))
    return tuple(found)


def folders() -> list[Path]:
    """Return every folder of the package that holds Python files."""
    return sorted({module.path.parent for module in modules()})


def top_entries() -> list[str]:
    """Return what a visitor sees first: the entries of the package's top folder."""
    hidden = ("__pycache__", ".")
    return sorted(path.name for path in PACKAGE.iterdir() if not path.name.startswith(hidden))


# --------------------------------------------------------------------------------------------------
# Density and length
# --------------------------------------------------------------------------------------------------


def count(tree: ast.AST, kinds: type[ast.AST] | tuple[type[ast.AST], ...]) -> int:
    """Count the nodes of some kinds; a docstring is a statement, too."""
    return sum(isinstance(node, kinds) for node in ast.walk(tree))


def code_lines(module: Module) -> int:
    """Count lines with code on them: no blank line, no comment, no docstring."""
    lines = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type not in skipped and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(module.tree):
        if is_text(node):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def is_text(node: ast.AST) -> bool:
    """Whether a node is a docstring, of a module, class, function or constant."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)


def long_functions() -> list[str]:
    """Name the functions of more than `LONG_FUNCTION` lines, docstrings left out."""
    found = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                docstring = node.body[0] if is_text(node.body[0]) else None
                lines = _height(node) - (_height(docstring) if docstring else 0)
                if lines > LONG_FUNCTION:
                    found.append(f"{module.path}:{node.lineno}: {node.name} has {lines} lines")
    return found


def _height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# --------------------------------------------------------------------------------------------------
# Who knows whom
# --------------------------------------------------------------------------------------------------


def probes() -> list[str]:
    """Name the lines outside core/source.py that look for an ability of a source or a chunk."""
    asked = re.compile(r"\b(?:getattr|hasattr)\([^()]*(?<!layer\.)\b(?:source|chunk)\b[^()]*,\s*\"")
    return [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules()
        if module.path != Path("core", "source.py")
        for number, line in enumerate(module.text.splitlines(), 1)
        if asked.search(line)
    ]


def imports() -> dict[str, set[str]]:
    """Return what each file imports of the package, in functions and for types, too."""
    names = {module.name for module in modules()}
    graph: dict[str, set[str]] = {}
    for module in modules():
        imported = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    imported.add(inner if inner in names else node.module)
        graph[module.name] = (imported & names) - {module.name}
    return graph


def circles() -> list[str]:
    """Name the files that import themselves by way of others, or lie between two such circles."""
    graph = imports()
    before = 0
    while before != len(graph):
        before = len(graph)
        # Whoever imports none of the rest, or is imported by none of it, is in no circle.
        imported = set().union(*graph.values())
        graph = {
            name: targets & graph.keys() for name, targets in graph.items() if name in imported
        }
        graph = {name: targets for name, targets in graph.items() if targets}
    return [f"in a circle: {name} imports {', '.join(sorted(graph[name]))}" for name in graph]


def linter() -> list[dict[str, object]]:
    """Return the contracts of import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def floors() -> int:
    """Count the floors of the package's rooms."""
    return next(
        len(contract["layers"])
        for contract in linter()
        if contract.get("containers") == [PACKAGE.name]
    )


def linter_lines() -> int:
    """Count the lines of import-linter's lists that name a module."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    table = text[text.index("[tool.importlinter]") :]
    lists = re.findall(r"^(?:layers|source_modules) = \[(.*?)\]$", table, re.MULTILINE | re.DOTALL)
    return sum(bool(line.strip()) for text in lists for line in text.splitlines())


# --------------------------------------------------------------------------------------------------
# Words
# --------------------------------------------------------------------------------------------------


def retired_words() -> Counter[str]:
    """Count the words and names that the field has other ones for, by file and word."""
    found: Counter[str] = Counter()
    for module in modules():
        for name in identifiers(module.tree):
            if is_retired(name, module.path):
                found[f"{module.path}: {name}"] += 1
        for phrase in RETIRED_PROSE:
            pattern = rf"\b{phrase}\b".replace(" ", r"\s+(?:#\s+)?")  # over the end of a line, too
            if times := len(re.findall(pattern, module.text, re.IGNORECASE)):
                found[f"{module.path}: {phrase}"] += times
    return found


def identifiers(tree: ast.AST) -> list[str]:
    """Return the identifiers of a file, each as often as it occurs."""
    found = []
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                found += name.split(".")  # an imported module's path has several
        if isinstance(node, ast.ImportFrom) and node.module:
            found += node.module.split(".")
    return found


def is_retired(name: str, path: Path) -> bool:
    """Whether an identifier in a file is a retired one."""
    if path.as_posix() == LEGITIMATE.get(name):
        return False
    return name in RETIRED_NAMES or bool(BRITISH.search(name))


# --------------------------------------------------------------------------------------------------
# The table
# --------------------------------------------------------------------------------------------------


def figures() -> dict[str, float]:
    """Measure everything."""
    code = sum(map(code_lines, modules()))
    ternaries = sum(count(module.tree, ast.IfExp) for module in modules())
    comprehensions = sum(count(module.tree, COMPREHENSIONS) for module in modules())
    sizes = Counter(module.path.parent for module in modules())
    return {
        "entries in the top folder": len(top_entries()),
        "files in the largest folder": max(sizes.values()),
        "lines of the longest file": max(module.text.count("\n") for module in modules()),
        f"functions over {LONG_FUNCTION} lines": len(long_functions()),
        "lines in import-linter's lists": linter_lines(),
        "floors of rooms": floors(),
        "files in circles of imports": len(circles()),
        "probes for abilities": len(probes()),
        "statements": sum(count(module.tree, ast.stmt) for module in modules()),
        "code lines": code,
        "ternaries per 100 code lines": round(100 * ternaries / code, 2),
        "comprehensions per 100 code lines": round(100 * comprehensions / code, 2),
        "retired words": sum(retired_words().values()),
    }


def print_rooms() -> None:
    """Print statements, and ternaries and comprehensions per 100 code lines, of each room."""
    print(f"{'room':28}{'statements':>10}{'ternaries':>10}{'comprehensions':>15}")
    for folder in folders():
        room = [module for module in modules() if module.path.parent == folder]
        code = sum(map(code_lines, room)) or 1
        statements = sum(count(module.tree, ast.stmt) for module in room)
        ternaries = 100 * sum(count(module.tree, ast.IfExp) for module in room) / code
        comprehensions = 100 * sum(count(module.tree, COMPREHENSIONS) for module in room) / code
        print(f"{folder.as_posix():28}{statements:>10}{ternaries:>10.2f}{comprehensions:>15.2f}")


def main() -> None:
    """Print the figures, and with ``-v`` what stands behind them."""
    for name, value in figures().items():
        print(f"{name:36}{value:>10}")
    if "-v" in sys.argv:
        words = [f"{word} ({times})" for word, times in sorted(retired_words().items())]
        print(*probes(), *circles(), *long_functions(), *words, sep="\n")
        print_rooms()


if __name__ == "__main__":
    main()
