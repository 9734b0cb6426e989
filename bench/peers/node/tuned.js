// The strongest server for Node that one can reasonably write on well-known packages: ws, pg and
// msgpackr. One prepared statement a command (so one way to the database and back, and one commit),
// pipelined; callbacks instead of promises, an event encoded and framed once for all sockets of a
// room, the sender's event and reply in one write.
'use strict'

const http = require('node:http')
const { Packr } = require('msgpackr')
const { Client } = require('pg')
const { Sender, WebSocketServer } = require('ws')
const { COMMANDS, SEATS, STATES, refusal, roomsOf } = require('./commands.js')

const CHANGE = {
  name: 'change',
  text: `
    WITH advanced AS (
        UPDATE game_states SET seq = seq + 1, updated_at = now()
        WHERE room_id = $1 AND seq = $2
        RETURNING seq
    ), told AS (
        INSERT INTO room_events (room_id, seq, at, type, payload)
        SELECT $1, seq, now(), $3, $4 FROM advanced
    ), seated AS (
        UPDATE room_seats SET status = $6, last_seen_at = now()
        WHERE room_id = $1 AND seat_index = $5 AND EXISTS (SELECT FROM advanced)
    )
    SELECT FROM advanced`,
}

// Plain maps, which every msgpack reader knows; records are an extension of msgpackr's own.
const packr = new Packr({ useRecords: false })
const clients = []
let rooms = new Map()

/** Run the statement on the connection that has the fewest under way. */
function change(values, done) {
  const client = clients.reduce((best, each) => (each.underWay < best.underWay ? each : best))
  client.underWay++
  client.query({ ...CHANGE, values }, (error, result) => {
    client.underWay--
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

function refuse(socket, re, message) {
  socket._sender.sendFrame([framed({ type: 'error', re, message })])
}

function command(socket, { type, id, room_id: roomId }) {
  const { room, seat, user } = socket
  const wanted = COMMANDS[type]
  const refused = refusal(wanted, socket, roomId)
  if (refused !== undefined) {
    refuse(socket, id, refused)
    return
  }
  const seq = room.seq + 1
  const payload = { ...wanted.details, seat_index: seat, user_id: user }
  const values = [room.id, room.seq, wanted.told, JSON.stringify(payload), seat, wanted.status]
  change(values, (error, result) => {
    if (error || result.rowCount !== 1) {
      refuse(socket, id, error ? error.message : 'the room is not where we believed it to be')
      return
    }
    room.seq = seq
    room.statuses[seat] = wanted.status
    const frame = framed({
      type: wanted.told, ...payload, channel: room.channel, seq, at: Date.now(),
    })
    const reply = framed({ type: 'ok', re: id, seq })
    for (const member of room.members) {
      member._sender.sendFrame([member === socket ? Buffer.concat([frame, reply]) : frame])
    }
  })
}

function connected(socket) {
  socket.on('message', (data) => {
    const message = packr.unpack(data)
    if (message.type !== 'hello') {
      command(socket, message)
      return
    }
    socket.room = rooms.get(message.room_id)
    socket.seat = message.seat
    socket.user = message.user
    socket.room.members.push(socket)
    socket._sender.sendFrame([framed({ type: 'ok', re: message.id })])
  })
  socket.on('close', () => {
    if (socket.room) socket.room.members.splice(socket.room.members.indexOf(socket), 1)
  })
}

async function main() {
  for (let n = 0; n < Number(process.env.PEER_CONNECTIONS); n++) {
    // Statements follow each other to PostgreSQL without waiting for answers; each commits by itself.
    const client = new Client({ pipeline: true })
    client.underWay = 0
    await client.connect()
    clients.push(client)
  }
  rooms = roomsOf((await clients[0].query(STATES)).rows, (await clients[0].query(SEATS)).rows)
  const server = http.createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false, skipUTF8Validation: true })
  sockets.on('connection', connected)
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port }))
  })
}

main()
