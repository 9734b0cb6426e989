"""The rules of a room as pure functions and values."""
