// A DHT for tests: a few nodes, the first of which is the bootstrap. Prints HOST:PORT of that one, and ends with its input.
//
//   node testnet.js [ADDRESS ...]
//
// With addresses one node listens on each; they must be this machine's. Without, six nodes share loopback.
const DHT = require('hyperdht')
const createTestnet = require('hyperdht/testnet')

// Fewer nodes than a search asks at once would leave replication and relaying untested.
const NODES_ON_LOOPBACK = 6
// Where each address has a node, all can have the same port.
const PORT = 49737

async function spread(addresses) {
  const bootstrap = [{ host: addresses[0], port: PORT }]
  for (const host of addresses) {
    const node = new DHT({ host, port: PORT, bootstrap: host === addresses[0] ? [] : bootstrap, ephemeral: false, firewalled: false })
    await node.ready()
  }
  return bootstrap[0]
}

async function main() {
  const addresses = process.argv.slice(2)
  const { host, port } = addresses.length > 0 ? await spread(addresses) : (await createTestnet(NODES_ON_LOOPBACK)).bootstrap[0]
  console.log(`${host}:${port}`)
  process.stdin.resume().on('end', () => process.exit(0))
}

main()
