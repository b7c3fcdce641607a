// Files over the HTTP API. A file's name, VOLUME/dir/name or a CID, stands in the query as `name`; a CID
// may stand in the path instead.

import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { MeshError, toMeshError } from '../base/errors.ts'
import { parseCid } from '../services/files/dag-store.ts'
import type { FileStat } from '../services/files/files.ts'
import { sendJson, type Call, type Route } from './route.ts'

export const FILE_ROUTES: Readonly<Record<string, Route>> = {
  'POST files': putFile,
  'GET files': getFile,
  'GET stat': async (call, parameter) => {
    const { node, response, signal } = call
    const stat = await node.files.stat(nameOf(call, parameter), { signal })
    sendJson(response, { ...stat, cid: stat.cid ?? null })
  },
  'GET ls': list,
  'POST mkdir': async (call, parameter) => {
    const { node, response, signal } = call
    await node.files.mkdir(nameOf(call, parameter), { signal, parents: !isSet(call, 'strict') })
    sendJson(response, {})
  },
  'POST mv': async (call) => {
    const { node, response, url, signal } = call
    const from = url.searchParams.get('from') ?? ''
    const to = url.searchParams.get('to') ?? ''
    await node.files.mv(from, to, { replace: isSet(call, 'replace'), signal })
    sendJson(response, {})
  },
  'POST rm': async (call, parameter) => {
    const { node, response, signal } = call
    const name = nameOf(call, parameter)
    await node.files.rm(name, { recursive: isSet(call, 'recursive'), signal })
    sendJson(response, {})
  }
}

async function putFile(call: Call): Promise<void> {
  const { node, request, response, url, signal } = call
  const expected = request.headers['content-length']
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    let received = 0
    for await (const part of request) {
      received += (part as Uint8Array).length
      yield part as Uint8Array
    }
    // A client that was cut off must not leave a shorter file behind.
    if (!request.complete) throw new MeshError('aborted', 'The upload was cut off')
    if (expected !== undefined && Number(expected) !== received) {
      throw new MeshError('file-changed', `The upload had ${received} bytes, not ${expected}`)
    }
  }
  const path = url.searchParams.get('name') ?? undefined
  const expectedVersion = numberOf(url, 'version')
  const result = await node.files.put(path, bytes(), {
    signal,
    replace: isSet(call, 'replace'),
    append: isSet(call, 'append'),
    expectedVersion
  })
  sendJson(response, result)
}

async function getFile(call: Call, parameter: string): Promise<void> {
  const { node, response, url, signal } = call
  const name = nameOf(call, parameter)
  const range = { ...rangeField(url, 'offset'), ...rangeField(url, 'length') }
  // A volume is no file, so a name alone is meant as a CID.
  if (!name.includes('/')) parseCid(name)
  // The name may lead elsewhere a moment later; what is sent is one file.
  const { cid, bytes } = versionOf(await node.files.stat(name, { signal }), {
    name,
    version: numberOf(url, 'version')
  })
  const content = node.files.get(cid, { ...range, signal })[Symbol.asyncIterator]()
  // The first block decides whether this is an error or a file.
  const first = await content.next()
  const { offset = 0, length = bytes - offset } = range
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': Math.min(length, bytes - offset)
  })
  const parts = async function* (): AsyncGenerator<Uint8Array> {
    for (let part = first; part.done !== true; part = await content.next()) yield part.value
  }
  // An error in the middle breaks the connection: the client sees that bytes are lacking.
  await pipeline(parts(), response)
}

function versionOf(
  stat: FileStat,
  { name, version }: { name: string; version: number | undefined }
): { cid: string; bytes: number } {
  const { cid, bytes, versions } = stat
  if (cid === undefined) {
    throw new MeshError('is-a-directory', `Cannot read ${name}: it is a directory`)
  }
  if (version === undefined) return { cid, bytes }
  const found = versions?.find((kept) => kept.version === version)
  if (found !== undefined) return found
  throw new MeshError('not-found', `There is no version ${version} of ${name}`)
}

/** What is in a directory, one JSON value a line; without a name the volumes. */
async function list({ node, response, url, signal }: Call): Promise<void> {
  const items = node.files.ls(url.searchParams.get('name') ?? undefined, { signal })
  const iterator = items[Symbol.asyncIterator]()
  // The first one decides whether this is an error or a list.
  let item = await iterator.next()
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  try {
    for (; item.done !== true; item = await iterator.next()) {
      const line = `${JSON.stringify({ ...item.value, cid: item.value.cid ?? null })}\n`
      if (!response.write(line)) await once(response, 'drain', { signal })
    }
    response.end()
  } catch (error) {
    const { code, message } = toMeshError(error)
    response.end(`${JSON.stringify({ error: { code, message } })}\n`)
  }
}

function nameOf({ url }: Call, parameter: string): string {
  return url.searchParams.get('name') ?? parameter
}

function isSet({ url }: Call, flag: string): boolean {
  return url.searchParams.get(flag) === 'true'
}

function rangeField(url: URL, field: 'offset' | 'length'): { offset?: number; length?: number } {
  const value = numberOf(url, field)
  return value === undefined ? {} : { [field]: value }
}

/** @throws invalid-range */
function numberOf(url: URL, field: 'offset' | 'length' | 'version'): number | undefined {
  const text = url.searchParams.get(field)
  if (text === null) return undefined
  if (/^\d+$/.test(text)) return Number(text)
  throw new MeshError('invalid-range', `"${text}" is no ${field}: it takes a whole number ≥ 0`)
}
