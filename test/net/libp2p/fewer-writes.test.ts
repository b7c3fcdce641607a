import type { ConnectionEncrypter, MessageStream, Stream } from '@libp2p/interface'
import { expect, it } from 'vitest'
import { giveWindowBackByHalves, withJoinedWrites } from '../../../src/net/libp2p/fewer-writes.ts'

it('a window is given back when half of it is used', () => {
  let updates = 0
  const stream = {
    state: 3,
    recvWindow: 100,
    recvWindowCapacity: 100,
    sendWindowUpdate() {
      updates += 1
      this.recvWindowCapacity = this.recvWindow
    }
  }
  giveWindowBackByHalves(stream as unknown as Stream)
  stream.recvWindowCapacity = 51
  stream.sendWindowUpdate()
  expect(updates).toBe(0)
  stream.recvWindowCapacity = 50
  stream.sendWindowUpdate()
  expect(updates).toBe(1)
  expect(stream.recvWindowCapacity).toBe(100)
  // The first one says that the stream is accepted.
  stream.state = 2
  stream.sendWindowUpdate()
  expect(updates).toBe(2)
})

it('what a connection sends in one turn is written at once', async () => {
  const done: string[] = []
  const connection = {
    socket: { cork: () => done.push('cork'), uncork: () => done.push('uncork') },
    sendData: (data: string) => done.push(data)
  }
  const plain = {
    secureInbound: async (given: MessageStream) => ({ connection: given }),
    secureOutbound: async (given: MessageStream) => ({ connection: given })
  } as unknown as ConnectionEncrypter
  const encrypter = withJoinedWrites(() => plain)({})
  await encrypter.secureOutbound(connection as unknown as MessageStream)
  connection.sendData('a')
  connection.sendData('b')
  await new Promise(setImmediate)
  connection.sendData('c')
  await new Promise(setImmediate)
  expect(done).toEqual(['cork', 'a', 'b', 'uncork', 'cork', 'c', 'uncork'])
})
