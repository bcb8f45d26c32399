// The bridge of today as a library, where its program will not do: that one looks for a DHT on loopback only.
//
//   node bridge.js '{"bootstrap": "HOST:PORT", "seed": HEX, "secret": HEX, "http": PORT, "targets": FILE}'
//
// It prints `ready`, and ends with its input.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const ProtomuxRpcClient = require('protomux-rpc-client')
const fastify = require('fastify')
const Bridge = require('hyperdht-prometheus-bridge')

async function main() {
  const options = JSON.parse(process.argv[2])
  const [host, port] = options.bootstrap.split(':')
  const keyPair = DHT.keyPair(Buffer.from(options.seed, 'hex'))
  const swarm = new Hyperswarm({ bootstrap: [{ host, port: Number(port) }], keyPair })
  const rpc = new ProtomuxRpcClient(swarm.dht, { keyPair })
  const server = fastify()
  const bridge = new Bridge(swarm, server, rpc, Buffer.from(options.secret, 'hex'), { prometheusTargetsLoc: options.targets })
  bridge.on('upstream-error', (error) => console.log(`upstream error: ${error.message} ${error.cause?.message ?? ''}`))
  server.listen({ host: '127.0.0.1', port: options.http })
  await bridge.ready()
  console.log('ready')
  process.stdin.resume().on('end', () => process.exit(0))
}

main()
