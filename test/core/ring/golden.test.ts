// Placement is replicated: every peer must reach the same layout, now and after an update. These layouts
// are fixed for good. A change of rules takes another algorithm number; run once with
// ATOLL_UPDATE_GOLDEN=1 to record its layouts.

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import { type Layout, layoutHash, ownersOf } from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { change, EMPTY_MESH, mixedMesh, randomStep, type Step } from './scenarios.ts'

const FILE = new URL('golden/layouts.json', import.meta.url)

type Golden = {
  /** Hash after each step of a course. */
  hashes: Record<string, string[]>
  /** Members as "id weight zone", and the owners of each arc. */
  layouts: Record<string, { members: string[]; owners: string[] }>
}

const KINDS: readonly Step['kind'][] = [
  'join',
  'join',
  'leave',
  'weight',
  'relabel',
  'drain',
  'bulk',
  'zone-lost'
]

type Course = {
  arcCount: number
  replication: number
  zones: number
  start: number
  length: number
}

function layoutsOf(course: Course): Layout[] {
  const random = createRandom(course.arcCount + course.zones)
  let mesh = course.start === 0 ? EMPTY_MESH : mixedMesh(random, course.start, course.zones)
  let layout: Layout | null = null
  const layouts: Layout[] = []
  for (let step = 0; step < course.length; step++) {
    const kinds: readonly Step['kind'][] = step < course.length / 2 ? ['join'] : KINDS
    mesh = change(mesh, randomStep(random, kinds), course.zones)
    layout = nextLayout(layout, mesh.members, course)
    layouts.push(layout)
  }
  return layouts
}

function computed(): Golden {
  const hashes: Golden['hashes'] = {}
  const layouts: Golden['layouts'] = {}
  for (const course of [
    { arcCount: 32, replication: 3, zones: 1, start: 0, length: 40 },
    { arcCount: 32, replication: 3, zones: 3, start: 0, length: 40 },
    { arcCount: 4_096, replication: 3, zones: 1, start: 0, length: 40 },
    { arcCount: 4_096, replication: 3, zones: 4, start: 20, length: 40 },
    { arcCount: 4_096, replication: 2, zones: 3, start: 20, length: 20 },
    { arcCount: 1_000, replication: 5, zones: 7, start: 20, length: 20 },
    { arcCount: 16_384, replication: 3, zones: 5, start: 900, length: 8 }
  ]) {
    const { arcCount, replication, zones, start } = course
    hashes[`${arcCount} × ${replication}, ${zones} zones, ${start} members`] =
      layoutsOf(course).map(layoutHash)
  }
  for (const course of [
    { arcCount: 8, replication: 3, zones: 1, start: 0, length: 6 },
    { arcCount: 16, replication: 2, zones: 2, start: 0, length: 10 },
    { arcCount: 24, replication: 3, zones: 3, start: 4, length: 16 }
  ]) {
    const layout = layoutsOf(course).at(-1) as Layout
    layouts[`${course.arcCount} × ${course.replication}, ${course.zones} zones`] = {
      members: layout.members.map(({ id, weight, zone }) => `${id} ${weight} ${zone}`),
      owners: Array.from({ length: course.arcCount }, (_, arc) => ownersOf(layout, arc).join(' '))
    }
  }
  return { hashes, layouts }
}

test('layouts are those recorded, step by step', () => {
  const now = computed()
  if (process.env['ATOLL_UPDATE_GOLDEN'] === '1') {
    writeFileSync(FILE, `${JSON.stringify(now, null, 2)}\n`)
  }
  const recorded = JSON.parse(readFileSync(FILE, 'utf8')) as Golden
  expect(now).toEqual(recorded)
})
