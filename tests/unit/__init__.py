"""Tests without sockets, files of others, or a database."""
