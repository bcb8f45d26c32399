// Sends a server handshakes of ever new keys, none of which goes on. Prints how many were answered, and ends by itself.
//
//   node handshakes.js BOOTSTRAP KEY RATE SECONDS
//
// The key is z-base-32, the rate handshakes a second.
const DHT = require('hyperdht')
const NoiseWrap = require('hyperdht/lib/noise-wrap')
const z32 = require('z32')

async function main() {
  const [bootstrap, text, rate, seconds] = process.argv.slice(2)
  const key = z32.decode(text)
  const dht = new DHT({ bootstrap: [bootstrap] })
  const relays = []
  for await (const found of dht.findPeer(key)) relays.push(found.from)
  if (relays.length === 0) throw new Error('the server is not found')

  const target = DHT.hash(key)
  let [sent, answered] = [0, 0]
  const send = async () => {
    const wrap = new NoiseWrap(DHT.keyPair(), key)
    const noise = wrap.send({
      error: 0,
      firewall: 0,
      holepunch: null,
      addresses4: [],
      addresses6: [],
      udx: { reusableSocket: false, id: 1 + sent, seq: 0 },
      secretStream: {},
      relayThrough: null
    })
    try {
      await dht._router.peerHandshake(target, { noise }, relays[sent++ % relays.length])
      answered++
    } catch {
      // Not answered in time.
    }
  }
  const began = Date.now()
  while (Date.now() - began < seconds * 1000) {
    const due = ((Date.now() - began) / 1000) * rate
    while (sent < due) send()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  console.log(`${sent} ${answered}`)
  process.exit(0)
}

main()
