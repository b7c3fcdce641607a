// Transactions as JSON: what they mean, and what is wrong with others.

import { describe, expect, it } from 'vitest'
import { TXN_HELP, parseTxn } from '../../../src/api/cli/txn-file.ts'
import { compare, op } from '../../../src/services/kv/txn.ts'

describe('parseTxn()', () => {
  it('understands the example of --help', () => {
    const example = TXN_HELP.slice(TXN_HELP.indexOf('{'), TXN_HELP.lastIndexOf('}') + 1)
    expect(parseTxn(example)).toEqual({
      conditions: [compare.version('config/a', '=', 3), compare.absent('config/b')],
      success: [op.put('config/a', 'new'), op.delete('config/draft')],
      failure: [op.get('config/a')]
    })
  })

  it('understands every condition and every part', () => {
    const json = `{
      "if": [
        { "key": "a/1", "exists": true },
        { "key": "a/1", "value": "x", "is": "!=" },
        { "key": "a/1", "value": "/w==", "base64": true },
        { "key": "a/1", "revision": 3, "is": "<" },
        { "key": "a/1", "createRevision": 0, "is": ">" },
        { "key": "a/1", "lease": 0 }
      ],
      "then": [{ "append": "a/", "value": "" }, { "list": "a/" }, { "deleteRange": "a/", "limit": 3 }]
    }`
    expect(parseTxn(json)).toEqual({
      conditions: [
        compare.exists('a/1'),
        compare.value('a/1', '!=', 'x'),
        compare.value('a/1', '=', Uint8Array.of(0xff)),
        compare.revision('a/1', '<', 3),
        compare.createRevision('a/1', '>', 0),
        compare.lease('a/1', '=', 0)
      ],
      success: [op.append('a/', ''), op.list('a/'), op.deleteRange('a/', { limit: 3 })],
      failure: []
    })
  })

  it.each([
    ['{', 'The transaction is not JSON'],
    ['[]', 'the file is an object'],
    ['{"when":[]}', 'the file does not know "when"'],
    ['{"then":{}}', 'then is a list'],
    ['{"if":[{"key":"a/1"}]}', 'if[0] wants one of exists, value, version'],
    ['{"if":[{"key":"a/1","version":1,"lease":1}]}', 'if[0] wants one of'],
    ['{"if":[{"key":1,"version":1}]}', 'if[0] "key" takes a text'],
    ['{"if":[{"key":"a/1","version":1,"is":"~"}]}', 'if[0] "is" takes = != < >'],
    ['{"if":[{"key":"a/1","version":-1}]}', 'if[0] "version" takes a whole number from 0'],
    ['{"if":[{"key":"a/1","exists":1}]}', 'if[0] "exists" takes true or false'],
    ['{"if":[{"key":"a/1","exists":true,"is":"="}]}', 'if[0] "exists" takes true or false'],
    ['{"then":[{}]}', 'then[0] wants one of get, put'],
    ['{"then":[{"get":"a/1"},{"get":"a/1","put":"a/1"}]}', 'then[1] wants one of get, put'],
    ['{"else":[{"put":"a/1"}]}', 'else[0] "value" takes a text'],
    ['{"else":[{"put":"a/1","value":"x","base64":1}]}', '"base64" takes true or false'],
    ['{"else":[{"put":"a/1","value":"?","base64":true}]}', '"value" is not base64'],
    ['{"then":[{"get":"a/1","limt":3}]}', 'then[0] does not know "limt"'],
    ['{"then":[{"list":"a/","limit":"3"}]}', 'then[0] "limit" takes a whole number']
  ])('refuses %s', (json, problem) => {
    const parse = (): unknown => parseTxn(json)
    expect(parse).toThrow(problem)
    expect(parse).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
  })
})
