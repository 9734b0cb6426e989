"""The Pusher-compatible endpoint: what `pusher-js` and Pusher's server libraries speak.

Protocol 7 of Pusher Channels (docs of Pusher, "Channels WebSocket protocol" and "HTTP API
reference") over the club's own channels: `staff-portal` and `player-{id}`, with and without
`private-` in front of them. `docs/pusher.md` says what of it there is.
"""
