// Units and how people write them.

import { MeshError } from './errors.ts'

export const SECOND_MS = 1_000
export const MINUTE_MS: number = 60 * SECOND_MS
const HOUR_MS: number = 60 * MINUTE_MS
export const DAY_MS: number = 24 * HOUR_MS
export const KIB = 1_024
export const MIB: number = 1_024 * KIB
export const GIB: number = 1_024 * MIB
export const TIB: number = 1_024 * GIB

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  kib: KIB,
  m: 1e6,
  mb: 1e6,
  mib: MIB,
  g: 1e9,
  gb: 1e9,
  gib: GIB,
  t: 1e12,
  tb: 1e12,
  tib: TIB
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS
}

function parseQuantity(
  text: string,
  units: Readonly<Record<string, number>>,
  expected: string
): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  const unit = match === null ? undefined : units[(match[2] ?? '').toLowerCase()]
  const value =
    match === null || unit === undefined ? Number.NaN : Math.round(Number(match[1]) * unit)
  if (!Number.isSafeInteger(value)) {
    throw new MeshError('invalid-argument', `"${text}" is not ${expected}`)
  }
  return value
}

/**
 * @param text such as `512MiB`, `1.5 GB` or `1000` (bytes).
 * @returns bytes, a safe integer ≥ 0.
 * @throws invalid-argument
 */
export function parseSize(text: string): number {
  return parseQuantity(text, SIZE_UNITS, 'a size; write it like 500GB, 64GiB or 1048576 (bytes)')
}

/**
 * @param text such as `500ms`, `30s`, `15m`, `2h` or `1d`.
 * @returns milliseconds, a safe integer ≥ 0.
 * @throws invalid-argument
 */
export function parseDuration(text: string): number {
  return parseQuantity(text, DURATION_UNITS, 'a duration; write it like 500ms, 30s, 15m, 2h or 1d')
}

/** @returns bytes for people: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < KIB) return `${bytes} B`
  const steps: readonly (readonly [number, string])[] = [
    [TIB, 'TiB'],
    [GIB, 'GiB'],
    [MIB, 'MiB'],
    [KIB, 'KiB']
  ]
  const [unit, name] = steps.find(([size]) => bytes >= size) ?? [KIB, 'KiB']
  const value = bytes / unit
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${name}`
}

/** @returns a duration for people: `850 ms`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < SECOND_MS) return `${Math.round(durationMs)} ms`
  const seconds = Math.round(durationMs / SECOND_MS)
  if (seconds < 60) return `${seconds} s`
  const pad = (value: number): string => String(value).padStart(2, '0')
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`
  return `${Math.floor(seconds / 3_600)} h ${pad(Math.floor((seconds % 3_600) / 60))} min`
}
