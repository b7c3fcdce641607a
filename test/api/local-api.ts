// The real local API over shards in this process, on loopback.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, connect as dial } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serveHttpApi } from '../../src/api/http-server.ts'
import type { HttpApi } from '../../src/api/http-server.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Node } from '../../src/node/node.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import type { Shards } from '../../src/shard/shards.ts'
import { LocalShards } from '../services/local-shards.ts'

export class LocalApi {
  readonly shards: LocalShards
  readonly dataDir: string
  #http: HttpApi

  private constructor(shards: LocalShards, dataDir: string, http: HttpApi) {
    this.shards = shards
    this.dataDir = dataDir
    this.#http = http
  }

  /** @param served what the node serves, if it isn't the shards themselves */
  static async start(served?: (shards: LocalShards) => Shards | undefined): Promise<LocalApi> {
    const shards = new LocalShards(systemClock)
    const dataDir = await mkdtemp(join(tmpdir(), 'atoll-api-'))
    const http = await serve(served === undefined ? shards : served(shards))
    const api = new LocalApi(shards, dataDir, http)
    await api.#save()
    return api
  }

  get address(): { api: string; token: string } {
    return { api: this.#http.url, token: this.#http.token }
  }

  get port(): number {
    return Number(new URL(this.#http.url).port)
  }

  /** As a node does that starts again: another port, another token. */
  async restart(): Promise<void> {
    await this.#http.close()
    this.#http = await serve(this.shards)
    await this.#save()
  }

  /** As one that takes a moment to write down where it is: the port is known before the token. */
  async restartAtSamePort(save: Promise<void>): Promise<void> {
    const { port } = this
    await this.#http.close()
    this.#http = await serve(this.shards, port)
    await save
    await this.#save()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http.close()
    this.shards.stop()
    await rm(this.dataDir, { recursive: true })
  }

  async #save(): Promise<void> {
    const { api: url, token } = this.address
    await writeFile(
      join(this.dataDir, 'api.json'),
      JSON.stringify({ url, token, pid: process.pid })
    )
  }
}

async function serve(shards: Shards | undefined, port = 0): Promise<HttpApi> {
  const node = { shards } as unknown as Node
  return await serveHttpApi({ node, log: silentLogger }, { host: '127.0.0.1', port })
}

/** A wire to a port that can be cut. */
export class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Connections so far. */
  count = 0

  private constructor(port: number) {
    this.#server = createServer((near) => {
      this.count += 1
      const far = dial(port, '127.0.0.1')
      for (const [from, to] of [
        [near, far],
        [far, near]
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => {})
        from.on('close', () => to.destroy())
        from.pipe(to)
      }
    })
  }

  static async to(port: number): Promise<Wire> {
    const wire = new Wire(port)
    await new Promise<void>((resolve) => {
      wire.#server.listen(0, '127.0.0.1', resolve)
    })
    return wire
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise((resolve) => {
      this.#server.close(resolve)
    })
  }
}
