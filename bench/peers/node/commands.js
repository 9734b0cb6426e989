// What a player may ask for in both peers for Node, and what comes of it.
'use strict'

const SIT_IN = { status: 'active', told: 'player_sat_in', details: {} }
const SIT_OUT = { status: 'sitting_out', told: 'player_sat_out', details: { reason: 'asked' } }
const COMMANDS = { sit_in: SIT_IN, sit_out: SIT_OUT }

/** Say why a player may not, or nothing. */
function refusal(wanted, member, roomId) {
  if (wanted === undefined) return 'no such command'
  if (member.room === undefined || member.room.id !== roomId) return 'not in this room'
  if (member.room.statuses[member.seat] === wanted.status) return 'it is so already'
  return undefined
}

/** Make the rooms of which the database knows, by their ids. */
function roomsOf(states, seats) {
  const rooms = new Map()
  for (const { room_id: id, seq } of states) {
    rooms.set(id, { id, channel: `room:${id}`, seq: Number(seq), statuses: [], members: [] })
  }
  for (const seat of seats) rooms.get(seat.room_id).statuses[seat.seat_index] = seat.status
  return rooms
}

const STATES = 'SELECT room_id, seq FROM game_states'
const SEATS = 'SELECT room_id, seat_index, status FROM room_seats'

module.exports = { COMMANDS, SEATS, STATES, refusal, roomsOf }
