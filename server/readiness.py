"""Whether the server can be used, and what an operator wants to know of it."""

from collections.abc import Callable, Mapping


class Readiness:
    """The answer to `/readyz`, which everything that starts contributes to.

    Attributes:
        started: every table goes on and commands are taken.
    """

    def __init__(self) -> None:
        self.started = False
        self._particulars: dict[str, Callable[[], object]] = {}
        self._needs: dict[str, Callable[[], bool]] = {}

    def tell(self, name: str, value: Callable[[], object]) -> None:
        """Have something told beside yes or no."""
        self._particulars[name] = value

    def need(self, name: str, is_there: Callable[[], bool]) -> None:
        """Have the answer be no while something that is needed is not there."""
        self._needs[name] = is_there

    @property
    def ready(self) -> bool:
        """Whether the server can be used now."""
        return self.started and all(is_there() for is_there in self._needs.values())

    @property
    def particulars(self) -> Mapping[str, object]:
        """What there is to say, by name."""
        return {
            **{name: "there" if is_there() else "away" for name, is_there in self._needs.items()},
            **{name: value() for name, value in self._particulars.items()},
        }
