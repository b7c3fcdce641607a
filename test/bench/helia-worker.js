// A Helia node in a process of its own, for comparison. Plain JavaScript: its packages are installed
// for the run only, into the folder that is the first argument; the second says `tuned` or not.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setUpEngine } from './engine.ts'
import { unlikeBytes } from './unlike-bytes.ts'

const [, , folder, engine] = process.argv
if (engine === 'tuned') setUpEngine()
const load = async (name) =>
  await import(pathToFileURL(join(folder, 'node_modules', name, 'dist', 'src', 'index.js')).href)

const { createHeliaLight } = await load('helia')
const { withBitswap } = await load('@helia/bitswap')
const { withLibp2pLight } = await load('@helia/libp2p')
const { unixfs } = await load('@helia/unixfs')
const { tcp } = await load('@libp2p/tcp')
const { identify } = await load('@libp2p/identify')
const { noise } = await load('@libp2p/noise')
const { yamux } = await load('@libp2p/yamux')
const { CID } = await import(
  pathToFileURL(join(folder, 'node_modules', 'multiformats', 'dist', 'src', 'index.js')).href
)
const { multiaddr } = await load('@multiformats/multiaddr')

const helia = withBitswap(
  withLibp2pLight(createHeliaLight(), {
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() }
  })
)
await helia.start()
const files = unixfs(helia)

async function perform(request) {
  if (request.do === 'listen') return { address: helia.libp2p.getMultiaddrs()[0].toString() }
  if (request.do === 'dial') {
    await helia.libp2p.dial(multiaddr(request.address))
    return {}
  }
  if (request.do === 'put') {
    const cid = await files.addByteStream(unlikeBytes(request.bytes, request.seed))
    return { cid: cid.toString() }
  }
  const startedMs = performance.now()
  let firstMs
  let bytes = 0
  for await (const part of files.cat(CID.parse(request.cid))) {
    firstMs ??= performance.now() - startedMs
    bytes += part.length
  }
  return { ms: performance.now() - startedMs, firstMs, bytes }
}

process.on('message', (request) => {
  void perform(request)
    .catch((/** @type {unknown} */ error) => ({ error: String(error?.stack ?? error) }))
    .then((answer) => process.send(answer))
})
