import { expect, it } from 'vitest'
import { mayTry } from '../../src/shard/hurried-elections.ts'

const LOST = { leader: 0, term: 7, electionElapsed: 0 }

it('a replica whose leader was lost tries in its turn, whenever it last heard of it', () => {
  expect(mayTry(LOST, 7)).toBe(true)
  expect(mayTry({ ...LOST, leader: 2 }, 7)).toBe(false)
})

it('whoever was voted for meanwhile has half a second to be heard of', () => {
  expect(mayTry({ ...LOST, term: 8 }, 7)).toBe(false)
  expect(mayTry({ ...LOST, term: 8, electionElapsed: 1 }, 7)).toBe(false)
  expect(mayTry({ ...LOST, term: 8, electionElapsed: 2 }, 7)).toBe(true)
})

it('after many elections the core is left to it', () => {
  expect(mayTry({ leader: 0, term: 12, electionElapsed: 9 }, 7)).toBe(false)
})
