"""Folders for what a test leaves on disk, that are gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that PostgreSQL's system user may pass through; its path is short.

    (The path of a Unix socket has about a hundred characters.)
    """
    with TemporaryDirectory(prefix="cardroom-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
