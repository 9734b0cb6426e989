"""The file in the data folder by which a running server is found from beside it."""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

NAME = "server.json"


class Addresses(NamedTuple):
    """Where a running server is reached."""

    http_port: int
    ws_port: int
    database_url: str


class Told(Struct, frozen=True):
    """What the file says: which process wrote it, and where that is (or was) reached."""

    pid: int
    http_port: int
    ws_port: int
    database_url: str


class ServerFile:
    """The file of one data folder.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME

    def read(self) -> Told | None:
        """Return what the file says; nothing if there is none. A killed server leaves its own."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Told)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write(self, addresses: Addresses) -> None:
        """Say where this process is reached, whole or not at all."""
        told = Told(os.getpid(), *addresses)
        scratch = self._path.with_suffix(".tmp")
        # The database's URL may hold a password.
        scratch.touch(mode=0o600)
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
        scratch.replace(self._path)

    def clear(self) -> None:
        """Remove the file, whosever it is."""
        self._path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the file, unless it is that of another server in this folder."""
        told = self.read()
        if told is not None and told.pid == os.getpid():
            self.clear()
