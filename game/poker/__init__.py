"""One hand of poker: the adapter over PokerKit.

`hand` is what the room works with. `variants` says what is played, `cash_state` is PokerKit's state
with what a cash table needs, `hi_lo_state` the part of it that histories share, `dealing` the deck
and boards, `decisions` turns actions into its operations, `pots`, `settlement` and `result` tell
who may win what and who did, `hand_types` compares hands fast, `cards` reads and checks cards,
`history` writes finished hands down in PHH. `quick_import` comes before all of them.
"""

from game.poker.quick_import import import_pokerkit

import_pokerkit()
