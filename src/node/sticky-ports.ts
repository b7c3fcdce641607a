// Listening where the last run did, so that an address that was told stays true.

import { createServer } from 'node:net'
import type { Address } from '../net/network.ts'

/** Port 0 means any: the one of the last run if it is free, so that printed addresses stay true. */
export async function withStickyPorts(
  listen: readonly Address[],
  ports: readonly number[]
): Promise<Address[]> {
  const sticky: Address[] = []
  for (const [index, address] of listen.entries()) {
    const port = ports[index]
    const match = /^\/ip[46]\/([^/]+)\/tcp\/0$/.exec(address)
    const usable =
      match !== null && port !== undefined && port > 0 && (await isFree(match[1] as string, port))
    sticky.push(usable ? address.replace(/\/0$/, `/${port}`) : address)
  }
  return sticky
}

async function isFree(host: string, port: number): Promise<boolean> {
  return await new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => resolve(true))
    })
  })
}

/** The ports in use, in the order of the listen addresses: one address each is enough. */
export function portsOf(addresses: readonly Address[]): number[] {
  const ports = addresses.map((address) => Number(/\/tcp\/(\d+)/.exec(address)?.[1] ?? 0))
  return [...new Set(ports)]
}
