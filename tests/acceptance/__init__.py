"""Tests of the server as a process, through its public protocol only."""
