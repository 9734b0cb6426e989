"""Tests on a real PostgreSQL and real sockets."""
