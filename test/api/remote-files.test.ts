import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { connect } from '../../src/api/remote/connect.ts'
import { serveHttpApi } from '../../src/api/http-server.ts'
import { silentLogger } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import { createNode } from '../../src/node/create-node.ts'

async function bytesOf(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}

it('files over a connection are what they are in the node', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-remote-'))
  try {
    await using node = await createNode({ dataDir, preset: 'local', capacityBytes: 64 * MIB })
    const http = await serveHttpApi({ node, log: silentLogger }, { host: '127.0.0.1', port: 0 })
    try {
      await using mesh = await connect({ api: http.url, token: http.token })
      const bytes = Buffer.alloc(3 * MIB, 'atoll')
      const told: number[] = []
      const onProgress = (at: { bytes: number }): void => void told.push(at.bytes)

      await mesh.files.mkdir('photos/2026')
      const put = await mesh.files.put('photos/2026/a.raw', bytes, { onProgress })
      expect(put).toMatchObject({ bytes: bytes.length, version: 1 })
      expect(told.at(-1)).toBe(bytes.length)
      expect(await bytesOf(mesh.files.get('photos/2026/a.raw'))).toEqual(bytes)
      expect(await bytesOf(node.files.get(put.cid, { offset: 5, length: 9 }))).toEqual(
        await bytesOf(mesh.files.get('photos/2026/a.raw', { offset: 5, length: 9 }))
      )
      await expect(mesh.files.put('photos/2026/a.raw', bytes)).rejects.toMatchObject({
        code: 'exists'
      })
      await mesh.files.put('photos/2026/a.raw', Buffer.from('2'), { append: true })
      expect(await mesh.files.stat('photos/2026/a.raw')).toEqual(
        await node.files.stat('photos/2026/a.raw')
      )
      expect(await bytesOf(mesh.files.get('photos/2026/a.raw', { version: 1 }))).toEqual(bytes)

      await mesh.files.mkdir('photos/old')
      await mesh.files.mv('photos/2026/a.raw', 'photos/old/b.raw')
      const names: string[] = []
      for await (const { name, type, cid } of mesh.files.ls('photos')) {
        names.push(`${name} ${type} ${cid ?? '-'}`)
      }
      expect(names).toEqual(['2026 directory -', 'old directory -'])
      await expect(mesh.files.rm('photos/old')).rejects.toMatchObject({ code: 'not-empty' })
      await mesh.files.rm('photos/old', { recursive: true })
      await expect(mesh.files.stat('photos/old/b.raw')).rejects.toMatchObject({ code: 'not-found' })

      const unnamed = await mesh.files.put(Buffer.from('kept by its CID'))
      expect(String(await bytesOf(mesh.files.get(unnamed.cid)))).toBe('kept by its CID')
    } finally {
      await http.close()
    }
  } finally {
    await rm(dataDir, { recursive: true })
  }
})
