"""One hand of poker: the adapter over PokerKit.

`hand` is what the room works with. `variants` says what is played, `cash_state` is PokerKit's state
with what a cash table needs, `decisions` turns actions into its operations, `pots` and `settlement`
tell who may win what and who did, `hand_types` compares hands fast, `cards` reads and checks cards,
`history` writes finished hands down in PHH.
"""
