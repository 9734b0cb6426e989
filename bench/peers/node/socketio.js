// How such portals are built today: Express, Socket.IO and pg. A transaction per action on a
// connection of the pool, five statements on their way and back, then a broadcast to the room.
'use strict'

const http = require('node:http')
const express = require('express')
const { Pool } = require('pg')
const { Server } = require('socket.io')
const { COMMANDS, SEATS, STATES, refusal, roomsOf } = require('./commands.js')

const pool = new Pool({ max: Number(process.env.PEER_CONNECTIONS) })
const app = express()
app.get('/healthz', (_request, response) => response.json({ ok: true }))
const server = http.createServer(app)
// Nobody is closed for being silent while a thousand others are set up, as nobody is in Cardroom.
const io = new Server(server, {
  serveClient: false, perMessageDeflate: false, pingTimeout: 300_000,
})
let rooms = new Map()

async function change(room, seat, user, wanted) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const believed = room.seq
    const advanced = await client.query(
      `UPDATE game_states SET seq = seq + 1, updated_at = now()
       WHERE room_id = $1 AND seq = $2 RETURNING seq`,
      [room.id, believed],
    )
    if (advanced.rowCount !== 1) throw new Error('the room is not where we believed it to be')
    const seq = believed + 1
    const payload = { ...wanted.details, seat_index: seat, user_id: user }
    await client.query(
      `INSERT INTO room_events (room_id, seq, at, type, payload)
       VALUES ($1, $2, now(), $3, $4)`,
      [room.id, seq, wanted.told, payload],
    )
    await client.query(
      `UPDATE room_seats SET status = $3, last_seen_at = now()
       WHERE room_id = $1 AND seat_index = $2`,
      [room.id, seat, wanted.status],
    )
    await client.query('COMMIT')
    room.seq = seq
    room.statuses[seat] = wanted.status
    return { type: wanted.told, ...payload, channel: room.channel, seq, at: Date.now() }
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

async function command(socket, wanted, roomId, answer) {
  const { room, seat, user } = socket.data
  try {
    const refused = refusal(wanted, socket.data, roomId)
    if (refused !== undefined) throw new Error(refused)
    const event = await change(room, seat, user, wanted)
    io.to(room.channel).emit('event', event)
    answer({ type: 'ok', seq: event.seq })
  } catch (error) {
    answer({ type: 'error', message: error.message })
  }
}

io.on('connection', (socket) => {
  socket.on('hello', ({ room_id: id, seat, user }, answer) => {
    const room = rooms.get(id)
    socket.data = { room, seat, user }
    socket.join(room.channel)
    answer({ type: 'ok' })
  })
  for (const [name, wanted] of Object.entries(COMMANDS)) {
    socket.on(name, ({ room_id: id }, answer) => command(socket, wanted, id, answer))
  }
})

async function main() {
  rooms = roomsOf((await pool.query(STATES)).rows, (await pool.query(SEATS)).rows)
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port }))
  })
}

main()
