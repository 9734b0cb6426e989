"""The wire: types of every command, reply, event and error, and their codecs."""
