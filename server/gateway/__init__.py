"""The WebSocket gateway: frames in, commands on to the club; replies and events out."""
