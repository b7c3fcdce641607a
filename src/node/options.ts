// What a node can be told, what it does otherwise, and what is refused.

import { statfs } from 'node:fs/promises'
import { availableParallelism, homedir, hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { MeshError } from '../base/errors.ts'
import {
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  LABEL_COUNT_MAX,
  LABEL_LENGTH_MAX,
  NAME_LENGTH_MAX,
  ZONE_LENGTH_MAX
} from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { DAY_MS, formatBytes, formatDuration, MIB, SECOND_MS } from '../base/units.ts'
import {
  membershipConfig,
  type MembershipConfig,
  type MembershipPreset
} from '../core/membership/config.ts'
import { TICK_MS } from '../mesh/member-driver.ts'
import type { Address } from '../net/network.ts'
import { parseAddress } from '../net/libp2p/address.ts'

export type NodeOptions = {
  /** Where the node lives. One running node per folder. */
  dataDir: string
  /** Addresses of nodes of the mesh to join. Without one an empty folder founds a new mesh. */
  join?: readonly Address[]
  /** Addresses to listen on; port 0 takes the port of the last run, or a free one. */
  listen?: readonly Address[]
  /** What people call the node, 1 to 63 characters; the host's name unless given. */
  name?: string
  /** What fails together with it: a room, a power strip, a site. `default` unless given. */
  zone?: string
  /** Bytes of blocks that it holds at most; unless given, 80 % of what is free at the first start. */
  capacityBytes?: number
  labels?: Readonly<Record<string, string>>
  /** Groups that agree on the keys of a mesh, 1 to 256, 32 unless given: fixed when the mesh is made. */
  shards?: number
  /** `local` for processes on one machine, `lan` for a home or office, `wan` for poor lines. */
  preset?: MembershipPreset
  /** How long a member may be away until its blocks are copied elsewhere, milliseconds; 15 min unless given. */
  graceMs?: number
  /** Tasks that it runs at one time, 0 for none; one for each processor unless given. */
  slots?: number
  /** How fast it is, beside the usual node; 1 unless given. Faster ones take more tasks at once. */
  speed?: number
  /** Memory for tasks; 60 % of the machine's unless given. */
  taskMemoryBytes?: number
  /** GPUs for tasks; none unless given. */
  gpus?: number
  /** Whether it runs commands for whoever is in the mesh; off unless given. */
  allowExec?: boolean
  /** Whom it works for; everybody unless given. */
  accepts?: readonly string[]
  logger?: Logger
  /** Called while a node that joins, or has restarted, waits for somebody to answer. */
  onWaiting?: (reason: string) => void
  signal?: AbortSignal
}

export type ResolvedOptions = {
  dataDir: string
  join: readonly Address[]
  listen: readonly Address[]
  name: string | undefined
  zone: string | undefined
  capacityBytes: number | undefined
  labels: readonly (readonly [string, string])[] | undefined
  shards: number | undefined
  membership: MembershipConfig
  mdns: boolean
  slots: number
  speed: number
  taskMemoryBytes: number | undefined
  gpus: number
  allowExec: boolean
  accepts: readonly string[] | undefined
}

export const DEFAULT_ZONE = 'default'
/** Share of the free disk that a node offers unless told otherwise. */
const FREE_SHARE = 0.8
const SHARDS_MAX = 256
const SLOTS_MAX = 1_024
const SPEED_MIN = 0.01
const SPEED_MAX = 100
const GPUS_MAX = 64
const GRACE_MS_MIN = SECOND_MS
const GRACE_MS_MAX: number = 30 * DAY_MS

/** Presets are differences: where a node listens, and whether it looks around. */
const PRESETS: Readonly<Record<MembershipPreset, { listen: Address; mdns: boolean }>> = {
  local: { listen: '/ip4/127.0.0.1/tcp/0', mdns: false },
  lan: { listen: '/ip4/0.0.0.0/tcp/0', mdns: true },
  wan: { listen: '/ip4/0.0.0.0/tcp/0', mdns: false }
}

/** @returns the data folder unless one is named: `$ATOLL_DATA`, or `~/.atoll`. */
export function defaultDataDir(environment: Readonly<Record<string, string | undefined>>): string {
  return environment['ATOLL_DATA'] ?? join(homedir(), '.atoll')
}

/** @throws invalid-argument, naming the option and what it accepts */
export function resolveOptions(options: NodeOptions): ResolvedOptions {
  const preset = PRESETS[options.preset ?? 'lan']
  if (preset === undefined) {
    throw refuse('preset', String(options.preset), 'local, lan or wan')
  }
  if (options.dataDir === '') throw refuse('data', '', 'the path of a folder')
  return {
    dataDir: options.dataDir,
    join: (options.join ?? []).map(parseAddress),
    listen: (options.listen ?? [preset.listen]).map(parseAddress),
    name: options.name === undefined ? undefined : checkText('name', options.name, NAME_LENGTH_MAX),
    zone: options.zone === undefined ? undefined : checkText('zone', options.zone, ZONE_LENGTH_MAX),
    capacityBytes:
      options.capacityBytes === undefined ? undefined : checkCapacity(options.capacityBytes),
    labels: options.labels === undefined ? undefined : checkLabels(options.labels),
    shards: options.shards === undefined ? undefined : checkShards(options.shards),
    membership: membershipConfig(options.preset ?? 'lan', graceOf(options.graceMs)),
    mdns: preset.mdns,
    ...resolveWork(options)
  }
}

/** @throws invalid-argument */
function resolveWork(
  options: NodeOptions
): Pick<ResolvedOptions, 'slots' | 'speed' | 'taskMemoryBytes' | 'gpus' | 'allowExec' | 'accepts'> {
  const { slots = availableParallelism(), speed = 1, gpus = 0, taskMemoryBytes, accepts } = options
  if (!Number.isInteger(slots) || slots < 0 || slots > SLOTS_MAX) {
    throw refuse('slots', String(slots), `a whole number up to ${SLOTS_MAX}`)
  }
  if (!(speed >= SPEED_MIN && speed <= SPEED_MAX)) {
    throw refuse('speed', String(speed), `a number from ${SPEED_MIN} to ${SPEED_MAX}`)
  }
  if (!Number.isInteger(gpus) || gpus < 0 || gpus > GPUS_MAX) {
    throw refuse('gpus', String(gpus), `a whole number up to ${GPUS_MAX}`)
  }
  if (
    taskMemoryBytes !== undefined &&
    !(Number.isSafeInteger(taskMemoryBytes) && taskMemoryBytes >= MIB)
  ) {
    throw refuse('task-memory', String(taskMemoryBytes), 'a size of 1MiB or more')
  }
  return { slots, speed, gpus, taskMemoryBytes, allowExec: options.allowExec === true, accepts }
}

/** @throws invalid-argument for 0, negative, fractions, NaN and what no disk holds */
function checkCapacity(capacityBytes: number): number {
  if (
    !Number.isSafeInteger(capacityBytes) ||
    capacityBytes < CAPACITY_BYTES_MIN ||
    capacityBytes > CAPACITY_BYTES_MAX
  ) {
    throw refuse(
      'capacity',
      String(capacityBytes),
      `a size from ${formatBytes(CAPACITY_BYTES_MIN)} to ${formatBytes(CAPACITY_BYTES_MAX)}`
    )
  }
  return capacityBytes
}

function checkShards(shards: number): number {
  if (Number.isInteger(shards) && shards >= 1 && shards <= SHARDS_MAX) return shards
  throw refuse('shards', String(shards), `a whole number from 1 to ${SHARDS_MAX}`)
}

/** @returns what a node offers that wasn't told: most of what is free where its folder will be. */
export async function defaultCapacity(dataDir: string): Promise<number> {
  let folder = dataDir
  for (;;) {
    try {
      const { bavail, bsize } = await statfs(folder)
      const bytes = Math.floor(bavail * bsize * FREE_SHARE)
      return Math.min(CAPACITY_BYTES_MAX, Math.max(CAPACITY_BYTES_MIN, bytes))
    } catch (error) {
      if (dirname(folder) === folder) throw error
      folder = dirname(folder) // The folder isn't there yet: its parent is on the same disk.
    }
  }
}

export function defaultName(): string {
  const name = hostname().split('.')[0] ?? ''
  return name === '' ? `node-${availableParallelism()}` : name.slice(0, NAME_LENGTH_MAX)
}

function graceOf(graceMs: number | undefined): Partial<MembershipConfig> {
  if (graceMs === undefined) return {}
  if (!Number.isFinite(graceMs) || graceMs < GRACE_MS_MIN || graceMs > GRACE_MS_MAX) {
    const range = `${formatDuration(GRACE_MS_MIN)} to ${GRACE_MS_MAX / DAY_MS} days`
    throw refuse('grace', String(graceMs), `a duration from ${range}`)
  }
  return { graceTicks: Math.ceil(graceMs / TICK_MS) }
}

function checkText(option: string, text: string, lengthMax: number): string {
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  const isPlain = !/[\u0000-\u001f\u007f]/.test(text)
  if (text.length === 0 || text.length > lengthMax || !isPlain) {
    throw refuse(option, text.slice(0, 80), `1 to ${lengthMax} printable characters`)
  }
  return text
}

function checkLabels(labels: Readonly<Record<string, string>>): (readonly [string, string])[] {
  const entries = Object.entries(labels)
  if (entries.length > LABEL_COUNT_MAX) {
    throw refuse('label', `${entries.length} labels`, `at most ${LABEL_COUNT_MAX}`)
  }
  for (const [key, value] of entries) {
    checkText('label', key, LABEL_LENGTH_MAX)
    if (value !== '') checkText('label', value, LABEL_LENGTH_MAX)
  }
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function refuse(option: string, value: string, accepted: string): MeshError {
  return new MeshError(
    'invalid-argument',
    `Cannot use --${option} "${value}": it takes ${accepted}`
  )
}
