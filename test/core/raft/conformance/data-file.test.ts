// The form of data files, to its last corner.

import { describe, expect, it } from 'vitest'
import { parseDataFile, parseDirectiveLine, withOutputs } from './data-file.ts'

const file = (...lines: string[]): string => lines.map((line) => `${line}\n`).join('')

describe('parseDirectiveLine()', () => {
  it('takes words in their order, with and without values', () => {
    expect(parseDirectiveLine('do 1 a=b 2 c= d=1')).toEqual({
      command: 'do',
      words: [
        { key: '1', values: [] },
        { key: 'a', values: ['b'] },
        { key: '2', values: [] },
        { key: 'c', values: [''] },
        { key: 'd', values: ['1'] }
      ]
    })
  })

  it('splits lists at their own commas only', () => {
    expect(parseDirectiveLine('do a=(1,  2,3) b=(x(1, 2),y z,) c=(one) d=()').words).toEqual([
      { key: 'a', values: ['1', '2', '3'] },
      { key: 'b', values: ['x(1, 2)', 'y z', ''] },
      { key: 'c', values: ['one'] },
      { key: 'd', values: [''] }
    ])
  })

  it('keeps "=" and parentheses inside of a value', () => {
    expect(parseDirectiveLine('do a=b=c d=e(f').words).toEqual([
      { key: 'a', values: ['b=c'] },
      { key: 'd', values: ['e(f'] }
    ])
  })

  it('refuses a word without a name and an open parenthesis', () => {
    expect(() => parseDirectiveLine('do =1')).toThrow('has no name')
    expect(() => parseDirectiveLine('do a=(1,(2)')).toThrow('is not closed')
    expect(() => parseDirectiveLine('do a=(1)2')).toThrow('follows a parenthesis')
  })
})

describe('parseDataFile()', () => {
  it('takes input and output, and skips comments and empty lines', () => {
    const text = file('# one', '', 'do 1', ' input', '', 'more ', '----', 'out', ' put', '', 'end')
    const { directives } = parseDataFile(`${text}----\nlast`)
    expect(
      directives.map(({ command, input, expected, line }) => [command, input, expected, line])
    ).toEqual([
      ['do', 'input\n\nmore', 'out\n put\n', 3],
      ['end', '', 'last\n', 11]
    ])
  })

  it('takes a directive without output at the end, and one without expectations', () => {
    const { directives } = parseDataFile(file('a', '----', '', 'b', 'x'))
    expect(directives.map(({ command, input, expected }) => [command, input, expected])).toEqual([
      ['a', '', ''],
      ['b', '', '']
    ])
  })

  it('joins lines that end in a backslash', () => {
    const [directive] = parseDataFile(file('do 1 \\', '  2 \\', '3', '----', '')).directives
    expect(directive?.words.map(({ key }) => key)).toEqual(['1', '2', '3'])
  })

  it('takes outputs with empty lines between two pairs of separators', () => {
    const text = file(
      'a',
      '----',
      '----',
      '',
      'x',
      '----',
      'y',
      '',
      '----',
      '----',
      '',
      'b',
      '----'
    )
    const { directives } = parseDataFile(text)
    expect(directives.map(({ expected }) => expected)).toEqual(['\nx\n----\ny\n\n', ''])
  })

  it('demands the end of such an output, and an empty line after it', () => {
    expect(() => parseDataFile(file('a', '----', '----', 'x', '----'))).toThrow('Line 1: ')
    expect(() => parseDataFile(file('a', '----', '----', '----', '----', 'x'))).toThrow('Line 1: ')
  })

  it('skips the names of parts', () => {
    const { directives } = parseDataFile(file('subtest one', 'a', '----', '', 'subtest end'))
    expect(directives.map(({ command }) => command)).toEqual(['a'])
  })
})

describe('withOutputs()', () => {
  it('gives the same text for the same outputs', () => {
    const text = file('# c', 'a 1', '----', 'x', 'y', '', '', '# d', 'b', 'in', '----', 'z')
    const parsed = parseDataFile(text)
    const outputs = parsed.directives.map(({ expected }) => expected)
    expect(withOutputs(parsed, outputs)).toBe(text)
  })

  it('changes outputs and nothing else, with two separators where they are needed', () => {
    const parsed = parseDataFile(file('a', '----', 'x', '', '# c', 'b', '----'))
    const outputs = ['x\n\ny\n', 'new\n']
    const text = withOutputs(parsed, outputs)
    expect(text).toBe(
      file('a', '----', '----', 'x', '', 'y', '----', '----', '', '# c', 'b', '----', 'new')
    )
    expect(parseDataFile(text).directives.map(({ expected }) => expected)).toEqual(outputs)
  })
})
