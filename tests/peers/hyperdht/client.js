// A client of one of the three generations: exposes made-up metrics over HyperDHT and registers them at a bridge.
//
//   node client.js '{"generation": "2.1", "bootstrap": "HOST:PORT", "bridge": KEY, "secret": HEX, "alias": NAME, ...}'
//
// More options: `service`, `hostname`, `bytes` (size of the metrics), `failing` (it cannot give any), `seed` (hex, of its key).
// It prints a line of JSON for each event of the library, with the first `{"event": "ready", "key": HEX}`. It takes commands as
// lines: `register` registers again, `fail` and `mend` change whether metrics can be had. It ends with its input.
const readline = require('readline')
const DHT = require('hyperdht')

const options = JSON.parse(process.argv[2])
const Client = require(`client-${options.generation}`)
const EVENTS = [
  'register-alias-success',
  'register-alias-error',
  'connection-open',
  'connection-close',
  'connection-error',
  'socket-error',
  'metrics-request',
  'metrics-success',
  'metrics-error',
  'firewall-block'
]

function say(event, what) {
  const error = what instanceof Error ? what : what?.error
  const told = error ? { error: `${error.message} ${error.cause?.message ?? ''}`.trim() } : {}
  if (what?.updated !== undefined) told.updated = what.updated
  if (what?.key) told.key = what.key
  console.log(JSON.stringify({ event, ...told }))
}

function metrics(bytes) {
  let text = '# TYPE lab_up gauge\nlab_up 1\n'
  for (let n = 0; text.length < bytes; n++) text += `lab_bulk{n="${String(n).padStart(8, '0')}"} 1\n`
  return text
}

async function main() {
  const [host, port] = options.bootstrap.split(':')
  const bootstrap = [{ host, port: Number(port) }]
  const text = metrics(options.bytes ?? 0)
  let failing = options.failing ?? false
  const getMetrics = async () => {
    if (failing) throw new Error('a detail that stays here')
    return text
  }

  const keyPair = DHT.keyPair(options.seed ? Buffer.from(options.seed, 'hex') : undefined)
  const dht = new DHT({ bootstrap })
  const client = new Client(
    dht,
    getMetrics,
    options.bridge,
    options.alias,
    Buffer.from(options.secret, 'hex'),
    options.service ?? 'lab',
    { keyPair, hostname: options.hostname ?? 'host' }
  )
  for (const event of EVENTS) client.on(event, (what) => say(event, what))
  say('ready', { key: client.publicKey.toString('hex') })
  await client.ready()

  const commands = {
    register: () => client._tryRegisterAlias(),
    fail: () => (failing = true),
    mend: () => (failing = false)
  }
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', (line) => commands[line.trim()]())
  lines.on('close', () => process.exit(0))
}

main()
