import { expect, it } from 'vitest'
import { Sessions } from '../../src/shard/sessions.ts'

const never = new AbortController().signal

it('commands that begin at one time share a session', async () => {
  let registered = 0
  const sessions = new Sessions(async () => {
    await Promise.resolve()
    return ++registered
  })
  const tickets = await Promise.all(Array.from({ length: 8 }, () => sessions.ticket(never)))
  expect(tickets.map(({ client }) => client)).toEqual(Array.from({ length: 8 }, () => 1))
  expect(new Set(tickets.map(({ sequence }) => sequence)).size).toBe(8)
  expect(registered).toBe(1)
})

it('a session whose window is full is followed by another, and is used again when it has room', async () => {
  let registered = 0
  const sessions = new Sessions(async () => ++registered)
  const first = await sessions.ticket(never)
  while ((await sessions.ticket(never)).client === 1);
  expect(registered).toBe(2)
  expect(first.answeredBelow()).toBe(1)
  first.done()
  expect(first.answeredBelow()).toBe(2)
  expect((await sessions.ticket(never)).client).toBe(1)
})
