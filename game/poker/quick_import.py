"""Imports PokerKit without its tables, which take it a third of a second to build.

There are fourteen, of all five-card hands of all its games, one for each of its hand types. Ours
(`hand_types`) look into none of them. Here each is built when it is first looked into, so that
PokerKit's own types, to which ours are held, are as they were.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def import_pokerkit() -> None:
    """Import PokerKit; nothing if somebody did that before."""
    if "pokerkit" in sys.modules:
        return
    spec = find_spec("pokerkit")
    assert spec is not None
    assert spec.loader is not None
    # The package imports all its modules, and these build the tables: it comes last.
    sys.modules["pokerkit"] = package = module_from_spec(spec)
    try:
        _build_when_asked(import_module("pokerkit.lookups").Lookup)
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules["pokerkit"]
        raise


def _build_when_asked(table: Any) -> None:
    """Have tables of a class, a dataclass that fills itself after its making, do so when read."""
    fill = table.__post_init__
    empty: dict[int, dict[str, Any]] = {}

    def put_off(self: Any) -> None:
        empty[id(self)] = dict(vars(self))
        vars(self).clear()

    def fill_and_get(self: Any, name: str) -> Any:
        """Get an attribute that is not there: it is put away, or there is none of that name."""
        if name not in empty.get(id(self), ()):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        vars(self).update(empty.pop(id(self)))
        fill(self)
        return getattr(self, name)

    table.__post_init__ = put_off
    table.__getattr__ = fill_and_get
