"""The HTTP API: a coat on the same commands that the WebSocket takes."""
