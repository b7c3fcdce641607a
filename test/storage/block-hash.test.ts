import { describe, expect, it } from 'vitest'

import { utf8 } from '../../src/base/bytes.ts'
import { blockId } from '../../src/base/ids.ts'
import { CODEC_DAG_PB, CODEC_RAW, blockIdToBytes } from '../../src/core/block/block-id.ts'
import { hashBlock, matchesId } from '../../src/storage/block-hash.ts'
import { expectCode } from '../conformance/block-store.ts'

/** As IPFS names them. */
const EMPTY_RAW = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
const EMPTY_DAG_PB = 'bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'

describe('hashBlock', () => {
  it('names the empty block as IPFS does', () => {
    expect(hashBlock(new Uint8Array(), CODEC_RAW)).toBe(EMPTY_RAW)
    expect(hashBlock(new Uint8Array(), CODEC_DAG_PB)).toBe(EMPTY_DAG_PB)
  })

  it('refuses a codec that no block has', async () => {
    await expectCode((async () => hashBlock(new Uint8Array(), 0x71))(), 'invalid-argument')
  })
})

describe('matchesId', () => {
  it('tells bytes apart', () => {
    const id = hashBlock(utf8('a'), CODEC_RAW)

    expect(matchesId(id, utf8('a'))).toBe(true)
    expect(matchesId(id, utf8('b'))).toBe(false)
    expect(matchesId(hashBlock(utf8('a'), CODEC_DAG_PB), utf8('a'))).toBe(true)
  })

  it('refuses a second text for the same id', () => {
    const stray = blockId(`${EMPTY_RAW.slice(0, -1)}v`)

    expect(blockIdToBytes(stray)).toEqual(blockIdToBytes(blockId(EMPTY_RAW)))
    expect(matchesId(stray, new Uint8Array())).toBe(false)
  })
})
