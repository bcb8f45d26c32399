// Dials a public key with a key of its own, as a stranger would, and prints `opened`, or `refused` and why.
//
//   node dial.js HOST:PORT KEY
const DHT = require('hyperdht')

const [bootstrap, key] = process.argv.slice(2)
const [host, port] = bootstrap.split(':')
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }] })
const socket = dht.connect(key)
const end = (line) => {
  console.log(line)
  process.exit(0)
}
socket.on('open', () => end('opened'))
socket.on('error', (error) => end(`refused ${error.code ?? ''} ${error.message}`))
