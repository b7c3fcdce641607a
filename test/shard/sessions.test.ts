import { expect, it } from 'vitest'
import { MeshError } from '../../src/base/errors.ts'
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

it('waits for room when all sessions are full, and no longer than its caller', async () => {
  let registered = 0
  const sessions = new Sessions(async () => ++registered)
  const taken = []
  for (let ticket = await sessions.ticket(never); ; ticket = await sessions.ticket(never)) {
    taken.push(ticket)
    if (registered === 16 && taken.length % 16 === 0 && taken.length >= 16 * 200) break
  }
  const caller = new AbortController()
  const late = sessions.ticket(caller.signal)
  const waiting = sessions.ticket(never)
  caller.abort(new Error('given up'))
  await expect(late).rejects.toThrow('given up')
  taken[0]!.done()
  expect((await waiting).client).toBe(1)
  expect(registered).toBe(16)
})

it('a session that the shard forgot is used no more', async () => {
  let registered = 0
  const sessions = new Sessions(async () => ++registered)
  const ticket = await sessions.ticket(never)
  ticket.expired()
  ticket.done()
  expect((await sessions.ticket(never)).client).toBe(2)
})

it.each(['no-quorum', 'timeout', 'overloaded'] as const)(
  "another one's registration that ended with %s isn't this one's failure",
  async (code) => {
    const asked: PromiseWithResolvers<number>[] = []
    const sessions = new Sessions(async () => {
      const registration = Promise.withResolvers<number>()
      asked.push(registration)
      return await registration.promise
    })
    const early = new AbortController()
    const gone = sessions.ticket(early.signal)
    const late = sessions.ticket(never)
    early.abort(new Error('given up'))
    await expect(gone).rejects.toThrow('given up')
    asked[0]!.reject(new MeshError(code, 'not now'))
    await expect.poll(() => asked.length).toBe(2)
    asked[1]!.resolve(7)
    expect((await late).client).toBe(7)
  }
)

it('what registering is refused with is told', async () => {
  const sessions = new Sessions(
    async () => await Promise.reject(new MeshError('version-mismatch', 'too old'))
  )
  await expect(sessions.ticket(never)).rejects.toMatchObject({ code: 'version-mismatch' })
})
