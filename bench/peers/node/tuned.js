// The strongest server for Node that one can reasonably write on well-known packages: ws, pg and
// msgpackr. One prepared statement a command (so one way to the database and back, and one commit),
// callbacks instead of promises, an event encoded and framed once for all sockets of a room, the
// sender's event and reply in one write.
'use strict'

const http = require('node:http')
const { Packr } = require('msgpackr')
const { Client } = require('pg')
const { Sender, WebSocketServer } = require('ws')

const CHANGE = {
  name: 'change',
  text: `
    WITH advanced AS (
        UPDATE game_states SET seq = seq + 1 WHERE room_id = $1 AND seq = $2 RETURNING seq
    ), told AS (
        INSERT INTO room_events (room_id, seq, type, payload)
        SELECT $1, seq, $3, $4 FROM advanced
    ), seated AS (
        UPDATE room_seats SET status = $6, last_seen_at = now()
        WHERE room_id = $1 AND seat_index = $5 AND EXISTS (SELECT FROM advanced)
    )
    SELECT FROM advanced`,
}

// Plain maps, which every msgpack reader knows; records are an extension of msgpackr's own.
const packr = new Packr({ useRecords: false })
const rooms = new Map()
const idle = []
const waiting = []

/** Run the statement on an idle connection, or when one is. */
function change(values, done) {
  const client = idle.pop()
  if (client === undefined) waiting.push({ values, done })
  else run(client, values, done)
}

function run(client, values, done) {
  client.query({ ...CHANGE, values }, (error, result) => {
    const next = waiting.shift()
    if (next === undefined) idle.push(client)
    else run(client, next.values, next.done)
    done(error, result)
  })
}

/** Encode and frame a message once; `ws` sends the same bytes to as many sockets as we like. */
function framed(message) {
  return Buffer.concat(
    Sender.frame(packr.pack(message), {
      fin: true, opcode: 2, mask: false, readOnly: true, rsv1: false,
    }),
  )
}

function command(socket, { id, status }) {
  const { room, seat, user } = socket
  const seq = room.seq + 1
  const event = {
    type: 'event', channel: room.channel, seq, at: Date.now(), seat_index: seat, user_id: user, status,
  }
  change([room.id, room.seq, event.type, JSON.stringify(event), seat, status], (error, result) => {
    if (error || result.rowCount !== 1) {
      const message = error ? error.message : 'the room is not where we believed it to be'
      socket._sender.sendFrame([framed({ type: 'error', re: id, message })])
      return
    }
    room.seq = seq
    const frame = framed(event)
    const reply = framed({ type: 'ok', re: id, seq })
    for (const member of room.members) {
      member._sender.sendFrame([member === socket ? Buffer.concat([frame, reply]) : frame])
    }
  })
}

function connected(socket) {
  socket.on('message', (data) => {
    const message = packr.unpack(data)
    if (message.type === 'cmd') {
      command(socket, message)
      return
    }
    const room = rooms.get(message.room)
    socket.room = room
    socket.seat = message.seat
    socket.user = `r${message.room}p${message.seat}`
    room.members.push(socket)
    socket._sender.sendFrame([framed({ type: 'ok', re: message.id })])
  })
  socket.on('close', () => {
    if (socket.room) socket.room.members.splice(socket.room.members.indexOf(socket), 1)
  })
}

async function main() {
  for (let n = 0; n < Number(process.env.PEER_CONNECTIONS); n++) {
    const client = new Client()
    await client.connect()
    idle.push(client)
  }
  const { rows } = await idle[0].query('SELECT room_id, seq FROM game_states')
  for (const row of rows) {
    rooms.set(row.room_id, {
      id: row.room_id, channel: `room:${row.room_id}`, seq: Number(row.seq), members: [],
    })
  }
  const server = http.createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false, skipUTF8Validation: true })
  sockets.on('connection', connected)
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port }))
  })
}

main()
