"""The process edge: command line, settings, wiring, sockets, HTTP, authentication."""
