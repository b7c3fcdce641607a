// Map-reduce over files of the mesh: how the input is cut, and the job that it becomes.

import { MeshError } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import { JOB_TASKS_MAX } from '../../core/machine/limits.ts'
import { encodeValue } from '../../executor/values.ts'
import type { CallOptions } from '../../shard/shards.ts'
import { inputFiles, type FileRef, type ListedFiles } from './input-files.ts'
import type { MapInput, ReduceInput } from './map-reduce-task.ts'
import type { JobRequest } from './job-request.ts'

/** A map task reads about so much. */
const SPLIT_BYTES: number = 4 * MIB
const PARTITIONS_MIN = 8
const PARTITIONS_MAX = 256
/** A reduce task has what was made of about so much in its memory. */
const PARTITION_BYTES: number = 32 * MIB

export type MapReduceOptions = CallOptions & {
  /** Files and directories of the mesh. */
  readonly input: string | readonly string[]
  /** A directory for one file of each partition, which is made. */
  readonly output: string
  /** Reduce tasks, 1 to 256; one for each 32 MiB of input unless given, 8 at least. */
  readonly partitions?: number | undefined
  /** Names the job; made up unless given. */
  readonly id?: string | undefined
  /** 0 to 9. */
  readonly priority?: number | undefined
}

export type MeshFiles = ListedFiles & {
  mkdir(path: string, options?: CallOptions): Promise<void>
}

/** @throws not-found when there is nothing to read; invalid-argument */
export async function mapReduceTasks(
  files: MeshFiles,
  options: MapReduceOptions
): Promise<Required<Pick<JobRequest, 'inputs' | 'stages'>>> {
  const { input, output, signal } = options
  const found = await inputFiles(files, typeof input === 'string' ? [input] : input, { signal })
  const { partitions = partitionsFor(found) } = options
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    const accepted = `a whole number from 1 to ${PARTITIONS_MAX}`
    throw new MeshError('invalid-argument', `partitions is ${partitions}; it takes ${accepted}`)
  }
  const maps = splits(found, JOB_TASKS_MAX - partitions).map((split): MapInput => {
    return { kind: 'map', partitions, ...split }
  })
  if (maps.length === 0) {
    throw new MeshError('not-found', `There is nothing to read in ${[input].flat().join(', ')}`)
  }
  await files.mkdir(output, { signal })
  const reduces = Array.from({ length: partitions }, (_, partition): ReduceInput => {
    const name = `part-${String(partition).padStart(5, '0')}`
    return { kind: 'reduce', partition, partitions, path: `${output.replace(/\/+$/, '')}/${name}` }
  })
  const to = maps.length
  return {
    inputs: [...maps, ...reduces].map(encodeValue),
    stages: [
      { from: 0, to, after: [], name: 'map', isOne: false, isByReference: true },
      { from: to, to: to + partitions, after: [0], name: 'reduce', isOne: false }
    ]
  }
}

function partitionsFor(files: readonly FileRef[]): number {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const count = Math.max(PARTITIONS_MIN, Math.ceil(bytes / PARTITION_BYTES))
  return Math.min(PARTITIONS_MAX, count)
}

type Split = { cid: string; offset: number; length: number; fileBytes: number }

/** Parts of about one size, larger ones when there would be too many. */
function splits(files: readonly FileRef[], countMax: number): Split[] {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const room = Math.max(1, countMax - files.length)
  const splitBytes = Math.max(SPLIT_BYTES, Math.ceil(bytes / room))
  const found = files.flatMap(({ cid, bytes: fileBytes }) => {
    const count = Math.ceil(fileBytes / splitBytes)
    return Array.from({ length: count }, (_, index) => {
      return { cid, offset: index * splitBytes, length: splitBytes, fileBytes }
    })
  })
  if (found.length <= countMax) return found
  const problem = `${files.length} files are more than the ${countMax} tasks of a job`
  throw new MeshError('too-large', `${problem}; join small files, or name fewer`)
}
