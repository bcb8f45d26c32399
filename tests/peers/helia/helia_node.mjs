// Bitswap of Helia 7 on loopback, driven by lines on standard input:
//
//     node helia_node.mjs MODULES        the directory with node_modules
//
// It prints its peer id, then answers each line:
//
//     address         its address, with its peer id
//     add TEXT        the CID of a raw block with this text
//     hash TEXT       the same, without adding it
//     connect ADDR    "ok", or "failed: ..."
//     get CID         "ok" when the block has come, or "failed: ..."
//     flood N         "ok" when the wantlist has N more CIDs
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'

// Node 20 lacks it; Helia needs it.
Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

const modules = path.resolve(process.argv[2])
const require = createRequire(path.join(modules, 'index.js'))
const load = async name => import(pathToFileURL(entry(name)))
// ES modules cannot be found from another directory, so their entry is read from their manifest.
function entry (name) {
  const [scope, bare, ...file] = name.startsWith('@') ? name.split('/') : ['', ...name.split('/')]
  const folder = path.join(modules, 'node_modules', scope, bare)
  const manifest = require(path.join(folder, 'package.json'))
  const key = file.length > 0 ? `./${file.join('/')}` : '.'
  const found = manifest.exports[key] ?? manifest.exports
  return path.join(folder, typeof found === 'string' ? found : found.import)
}

const { createLibp2p } = await load('libp2p')
const { tcp } = await load('@libp2p/tcp')
const { noise } = await load('@libp2p/noise')
const { yamux } = await load('@libp2p/yamux')
const { identify } = await load('@libp2p/identify')
const { defaultLogger } = await load('@libp2p/logger')
const { MemoryBlockstore } = await load('blockstore-core')
const { CID } = await load('multiformats/cid')
const raw = await load('multiformats/codecs/raw')
const { sha256 } = await load('multiformats/hashes/sha2')
const { multiaddr } = await load('@multiformats/multiaddr')
const bitswapFile = path.join(modules, 'node_modules/@helia/bitswap/dist/src/bitswap.js')
const { Bitswap } = await import(pathToFileURL(bitswapFile))

const libp2p = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() }
})
const blockstore = new MemoryBlockstore()
const routing = {
  async * findProviders () {},
  async provide () {},
  async * getClosestPeers () {}
}
const bitswap = new Bitswap({ libp2p, blockstore, routing, logger: defaultLogger(), getHasher: async () => sha256 }, {})
await bitswap.start()
console.log(libp2p.peerId.toString())

async function cidOf (text) {
  return CID.createV1(raw.code, await sha256.digest(new TextEncoder().encode(text)))
}

const outcome = promise => promise.then(() => 'ok', error => `failed: ${error.message}`)

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(' ')
  const rest = words.join(' ')
  if (command === 'address') console.log(libp2p.getMultiaddrs()[0].toString())
  if (command === 'hash') console.log((await cidOf(rest)).toString())
  if (command === 'add') {
    const cid = await cidOf(rest)
    await blockstore.put(cid, new TextEncoder().encode(rest))
    await bitswap.notify(cid)
    console.log(cid.toString())
  }
  if (command === 'connect') console.log(await outcome(libp2p.dial(multiaddr(rest))))
  if (command === 'get') outcome(bitswap.want(CID.parse(rest))).then(console.log)
  if (command === 'flood') {
    for (let n = 0; n < Number(rest); n++) bitswap.want(await cidOf(`${process.pid} ${n}`)).catch(() => {})
    console.log('ok')
  }
}
process.exit(0)
