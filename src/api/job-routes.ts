// Work over the local API: tasks that are waited for, parts of jobs, and why they don't run.

import type { IncomingMessage } from 'node:http'
import { concatBytes } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { decodePart } from '../services/compute/part-codec.ts'
import { decodeSpec } from '../services/compute/spec.ts'
import { decodeJobCall, encodeJobReply, type TaskOutcome } from '../wire/job.ts'
import { sendJson, type Call, type Route } from './route.ts'

/** Inputs of a part of a job. */
const PART_BYTES_MAX: number = 256 * MIB
const TASKS_BYTES_MAX: number = 4 * MIB

export const JOB_ROUTES: Readonly<Record<string, Route>> = {
  'POST tasks': runTasks,
  'POST part': async ({ node, request, response, signal }) => {
    const part = decodePart(await bodyOf(request, PART_BYTES_MAX))
    sendJson(response, await node.work.submitter.submit(part, { signal }))
  },
  'GET explain': async ({ node, response, signal }, id) =>
    sendJson(response, await node.work.explain(id, { signal }))
}

/** Body and answer are those of protocols/job; the node sees to it that each task is run somewhere. */
async function runTasks({ node, request, response, url, signal }: Call): Promise<void> {
  const call = decodeJobCall(await bodyOf(request, TASKS_BYTES_MAX))
  if (call.kind !== 'run') throw new MeshError('invalid-argument', 'Only tasks to run are accepted')
  const { code, task, limits, submitter } = call
  const said = decodeSpec(call.spec)
  const requirements = { ...said.requirements, isExec: code.kind === 'exec' }
  const spec = { ...said, code, task, limits, requirements }
  const priority = countOf(url, 'priority', 9)
  const retries = countOf(url, 'retries', 100)
  const isNested = countOf(url, 'nested', 1) === 1
  const outcomes = await Promise.all(
    call.tasks.map(async ({ id, input }): Promise<TaskOutcome> => {
      const one = { spec, submitter, input, retries, priority, isNested }
      return { ...(await node.work.ephemeral.run(one, signal)), id }
    })
  )
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  response.end(encodeJobReply({ kind: 'ran', outcomes }))
}

/** @throws invalid-argument */
function countOf(url: URL, name: string, max: number): number {
  const count = Number(url.searchParams.get(name) ?? 0)
  if (Number.isInteger(count) && count >= 0 && count <= max) return count
  throw new MeshError('invalid-argument', `${name} is a whole number up to ${max}`)
}

/** @throws too-large */
async function bodyOf(request: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += (part as Uint8Array).length
    if (bytes > bytesMax) {
      throw new MeshError('too-large', `At most ${bytesMax} bytes are accepted here at once`)
    }
    parts.push(part as Uint8Array)
  }
  return concatBytes(parts)
}
