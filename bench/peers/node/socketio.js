// How such portals are built today: Express, Socket.IO and pg. A transaction per action on a
// connection of the pool, five statements on their way and back, then a broadcast to the room.
'use strict'

const http = require('node:http')
const express = require('express')
const { Pool } = require('pg')
const { Server } = require('socket.io')

const pool = new Pool({ max: Number(process.env.PEER_CONNECTIONS) })
const app = express()
app.get('/healthz', (_request, response) => response.json({ ok: true }))
const server = http.createServer(app)
const io = new Server(server, { serveClient: false })
const seqs = new Map()

async function change(room, seat, user, status) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const believed = seqs.get(room)
    const advanced = await client.query(
      'UPDATE game_states SET seq = seq + 1 WHERE room_id = $1 AND seq = $2 RETURNING seq',
      [room, believed],
    )
    if (advanced.rowCount !== 1) throw new Error('the room is not where we believed it to be')
    const seq = believed + 1
    const event = {
      type: 'event', channel: `room:${room}`, seq, at: Date.now(), seat_index: seat, user_id: user, status,
    }
    await client.query(
      'INSERT INTO room_events (room_id, seq, type, payload) VALUES ($1, $2, $3, $4)',
      [room, seq, event.type, event],
    )
    await client.query(
      'UPDATE room_seats SET status = $3, last_seen_at = now() WHERE room_id = $1 AND seat_index = $2',
      [room, seat, status],
    )
    await client.query('COMMIT')
    seqs.set(room, seq)
    return event
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

io.on('connection', (socket) => {
  socket.on('hello', ({ room, seat }, answer) => {
    socket.data = { room, seat, user: `r${room}p${seat}` }
    socket.join(`room:${room}`)
    answer({ type: 'ok' })
  })
  socket.on('cmd', async ({ status }, answer) => {
    const { room, seat, user } = socket.data
    try {
      const event = await change(room, seat, user, status)
      io.to(event.channel).emit('event', event)
      answer({ type: 'ok', seq: event.seq })
    } catch (error) {
      answer({ type: 'error', message: error.message })
    }
  })
})

async function main() {
  const { rows } = await pool.query('SELECT room_id, seq FROM game_states')
  for (const row of rows) seqs.set(row.room_id, Number(row.seq))
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port }))
  })
}

main()
