"""The house has floors: a package imports only from those below it, and the rules stay pure.

Every import of every module is read from its syntax tree, those inside functions and those for type
checking only included.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]


class Rules(msgspec.Struct, frozen=True):
    """What the modules of one package may import.

    `ours` are packages of this repository, `others` third-party ones (None: any), `never` modules
    of the standard library. `pure` also forbids asking for the date or the time of day.
    """

    floor: int
    ours: frozenset[str]
    others: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    pure: bool = False


IMPURE = frozenset(
    {
        "asyncio",
        "http",
        "logging",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    }
)
OUTSIDE = 9
"""The floor of what looks at the house from outside, and measures the rules, which are pure."""

TABLE = {
    "protocol": Rules(0, frozenset(), frozenset({"msgspec"}), IMPURE, pure=True),
    "game": Rules(
        1,
        frozenset({"protocol"}),
        frozenset({"msgspec", "phevaluator", "pokerkit"}),
        IMPURE,
        pure=True,
    ),
    "client": Rules(1, frozenset({"protocol"})),
    "persistence": Rules(2, frozenset({"protocol", "game"})),
    "actors": Rules(3, frozenset({"protocol", "game", "persistence"})),
    "server": Rules(4, frozenset({"protocol", "game", "client", "persistence", "actors"})),
    "bench": Rules(OUTSIDE, frozenset({"protocol", "game", "client"})),
}
OURS = frozenset(TABLE) | {"tests"}
CLOCKS = frozenset({"now", "utcnow", "today"})


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module that the tree imports; relative ones keep a dot."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=module, level=level):
                yield node.lineno, "." * level + (module or "")
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str() as name), *_],
            ):
                yield node.lineno, name


def clocks_read(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every call of `datetime.now` and its like."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in CLOCKS:
                yield node.lineno, f"{ast.unparse(owner)}.{name}"


def violations(package: str, source: str, name: str) -> list[str]:
    """Say, one line each, what a module of the package imports or calls and may not."""
    rules = TABLE[package]
    tree = ast.parse(source, filename=name)
    found: list[str] = []
    for line, module in imported(tree):
        top = module.partition(".")[0]
        if top == "":
            found.append(f"{name}:{line}: {module} is a relative import")
        elif top in OURS:
            if top != package and top not in rules.ours:
                found.append(f"{name}:{line}: {package} may not import {module}")
        elif top in sys.stdlib_module_names:
            if top in rules.never:
                found.append(f"{name}:{line}: {package} has no use for {module}")
        elif rules.others is not None and top not in rules.others:
            found.append(f"{name}:{line}: {package} may not depend on {module}")
    if rules.pure:
        found.extend(f"{name}:{line}: {call} reads the clock" for line, call in clocks_read(tree))
    return found


@pytest.mark.parametrize("package", sorted(TABLE))
def test_a_package_imports_only_what_its_floor_allows(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, "the package has moved"
    found = [
        line
        for path in modules
        for line in violations(
            package, path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        )
    ]
    assert found == []


def test_every_package_of_the_root_is_in_the_table() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == OURS


def test_the_table_itself_only_points_down() -> None:
    for package, rules in TABLE.items():
        for below in rules.ours:
            assert TABLE[below].floor < rules.floor, f"{package} → {below}"


@pytest.mark.parametrize(
    ("package", "source", "told"),
    [
        ("protocol", "import game.hands", "may not import game.hands"),
        ("protocol", "import trio", "may not depend on trio"),
        ("protocol", "from . import ids", "relative import"),
        ("game", "from persistence.pool import Pool", "may not import persistence.pool"),
        ("game", "def f():\n    import random", "no use for random"),
        ("game", "import msgspec, trio", "may not depend on trio"),
        ("game", "from time import monotonic", "no use for time"),
        ("game", "from datetime import datetime\nx = datetime.now()", "datetime.now reads"),
        ("game", "import datetime as d\nx = d.date.today()", "d.date.today reads"),
        ("game", "if TYPE_CHECKING:\n    from actors.room import Room", "may not import actors"),
        ("client", "from server.app import App", "may not import server.app"),
        ("persistence", "import actors", "may not import actors"),
        ("actors", "from ..server import app", "relative import"),
        ("actors", "importlib.import_module('server.app')", "may not import server.app"),
        ("server", "from bench.load import run", "may not import bench.load"),
        ("server", "import tests.fakes", "may not import tests.fakes"),
        ("bench", "from actors.hub import Hub", "may not import actors.hub"),
        ("bench", "from server.settings import load", "may not import server.settings"),
    ],
)
def test_the_check_finds_what_is_wrong(package: str, source: str, told: str) -> None:
    (line,) = violations(package, source, "made_up.py")
    assert told in line


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("protocol", "from datetime import datetime\nimport msgspec\nfrom protocol.ids import X"),
        ("game", "import pokerkit, phevaluator\nfrom protocol.events import E\nimport enum"),
        ("client", "import trio\nimport trio_websocket\nimport random\nimport protocol.codec"),
        ("server", "import time\nfrom actors.hub import Hub\nimport quart_trio\nimport client"),
        ("bench", "import time\nfrom client.connection import C\nimport protocol, game"),
    ],
)
def test_the_check_lets_pass_what_is_right(package: str, source: str) -> None:
    assert violations(package, source, "made_up.py") == []
