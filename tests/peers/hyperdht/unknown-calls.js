// Clients that call methods that a bridge does not have, each with a new key once its connection is closed: every second one after the other,
// the others all at once. Prints the numbers of closed connections, of calls, of refusals and of other answers, and ends by itself.
//
//   node unknown-calls.js BOOTSTRAP KEY CLIENTS SECONDS
//
// The key is z-base-32.
const DHT = require('hyperdht')
const ProtomuxRPC = require('protomux-rpc')
const z32 = require('z32')

// Of a connection; far more than the bridge refuses on one.
const CALLS = 100
// A name that is cut in the refusal.
const METHOD = 'x'.repeat(100)

const [bootstrap, text, clients, seconds] = process.argv.slice(2)
const key = z32.decode(text)
const dht = new DHT({ bootstrap: [bootstrap] })
const end = Date.now() + seconds * 1000
let [connections, calls, refused, others] = [0, 0, 0, 0]

async function call(rpc, number) {
  calls++
  try {
    await rpc.request(`${METHOD}${number}`, null)
    others++
  } catch (error) {
    if (/unknown method/i.test(error.message)) refused++
  }
}

async function client(_, number) {
  while (Date.now() < end) {
    const socket = dht.connect(key, { keyPair: DHT.keyPair() })
    const closed = new Promise((resolve) => socket.on('close', () => resolve(true)))
    const late = new Promise((resolve) => setTimeout(resolve, end + 2000 - Date.now(), false))
    socket.on('error', () => {})
    const rpc = new ProtomuxRPC(socket, { protocol: 'register-alias' })
    for (let sent = 0; sent < CALLS && !rpc.closed; sent++) {
      const answered = call(rpc, sent)
      if (number % 2 === 0) await Promise.race([answered, late])
    }
    if (await Promise.race([closed, late])) connections++
    socket.destroy()
  }
}

async function main() {
  await Promise.all(Array.from({ length: Number(clients) }, client))
  console.log(`${connections} ${calls} ${refused} ${others}`)
  process.exit(0)
}

main()
