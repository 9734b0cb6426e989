// Runs pusher-js and pusher for the tests: a command a line comes in, a report a line goes out.
'use strict'
const readline = require('node:readline')
const Client = require('pusher-js')
const BackEnd = require('pusher')

const clients = {}
let backEnd = null

const report = (told) => process.stdout.write(JSON.stringify(told) + '\n')

const commands = {
  connect({ client, key, options }) {
    const pusher = (clients[client] = new Client(key, options))
    pusher.connection.bind('state_change', ({ current }) =>
      report({ told: 'state', client, state: current, socket_id: pusher.connection.socket_id })
    )
    pusher.connection.bind('error', (error) => report({ told: 'error', client, error }))
    pusher.user.bind_global((event, data) => report({ told: 'user', client, event, data }))
  },
  subscribe({ client, channel }) {
    const bound = clients[client].subscribe(channel)
    bound.bind_global((event, data) => report({ told: 'event', client, channel, event, data }))
  },
  unsubscribe({ client, channel }) {
    clients[client].unsubscribe(channel)
  },
  signin({ client }) {
    clients[client].signin()
    clients[client].user.signinDonePromise.then(() =>
      report({ told: 'signed_in', client, user: clients[client].user.user_data })
    )
  },
  trigger({ client, channel, event, data }) {
    clients[client].channel(channel).trigger(event, data)
  },
  send({ client, event, data }) {
    clients[client].send_event(event, data)
  },
  disconnect({ client }) {
    clients[client].disconnect()
  },
  backend(options) {
    backEnd = new BackEnd(options)
  },
  async call({ method, args }) {
    try {
      const answer = await backEnd[method](...args)
      // What is only computed comes back as it is, a response with its status and body.
      const isResponse = typeof answer?.text === 'function'
      const body = isResponse ? await answer.text() : answer
      report({ told: 'answer', status: isResponse ? answer.status : 200, body })
    } catch (error) {
      report({ told: 'answer', status: error.status ?? 0, body: error.body ?? String(error) })
    }
  },
  run({ code, given }) {
    // A snippet of the documentation, with the functions that its reader has around it.
    const show = (name, data) => report({ told: 'shown', name, data })
    const values = Object.values(given).map((value) => () => value)
    new Function('require', 'show', ...Object.keys(given), code)(require, show, ...values)
  },
}

process.on('unhandledRejection', (error) => report({ told: 'failed', error: String(error) }))
readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { command, ...fields } = JSON.parse(line)
    commands[command](fields)
  })
  .on('close', () => process.exit(0))
