"""Which node this process is, among those on the same database."""

import fcntl
import uuid
from pathlib import Path
from typing import IO

import structlog

log = structlog.stdlib.get_logger(__name__)

NODE_FILE = "node_id"


class Identity:
    """Which node this process is.

    The id is kept in the data folder under a lock that the kernel gives up with the process: one
    started there after a kill is the same node. While another process lives in that folder (frozen
    or not), this one gets an id of its own.

    Args:
        data_dir: the data folder, which exists.

    Attributes:
        node_id: which node.
        alone: no other process lives in the folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.alone = True
        self._file: IO[str] = (data_dir / NODE_FILE).open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.alone = False
            self.node_id = str(uuid.uuid4())
            log.warning("node_id_taken", hint="another server runs in this data folder")
            return
        self._file.seek(0)
        self.node_id = self._file.read().strip()
        if not self.node_id:
            self.node_id = str(uuid.uuid4())
            self._file.write(self.node_id)
            self._file.flush()

    def release(self) -> None:
        """Give the folder's id up."""
        self._file.close()
