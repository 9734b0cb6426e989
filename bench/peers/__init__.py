"""Other servers that do the same small thing, to be measured beside ours in one run.

They know rooms and sockets only. A command advances its room's sequence number where it is what the
server believes, inserts an event and updates a seat, commits that with full durability and then
tells the event to the six sockets of the room. Ours is Cardroom itself, asked to `sit_out` and
`sit_in` by one player of each table.
"""
