// Reads data files: directives, each with an input and the output that is expected of it, in the
// plain text form that etcd's tests use.
//
//     # a comment
//     command word key=value list=(1,2,3)
//     input, any number of lines
//     ----
//     expected output, up to an empty line
//
// Output that has empty lines itself stands between two pairs of `----`.

const SEPARATOR = '----'

/** `values` is empty for a word without "=". */
type Argument = { readonly key: string; readonly values: readonly string[] }

export type Directive = {
  readonly command: string
  /** In the order of the line. */
  readonly words: readonly Argument[]
  /** Trimmed as a whole. */
  readonly input: string
  /** Every line ends in a line feed. */
  readonly expected: string
  /** Where it begins, counted from 1. */
  readonly line: number
  /** The lines of the file that separator and output take: `[from, to)`, counted from 0. */
  readonly output: { readonly from: number; readonly to: number }
}

export type DataFile = {
  readonly lines: readonly string[]
  readonly directives: readonly Directive[]
}

/** @throws Error that names the line, when the text has another form */
export function parseDataFile(text: string): DataFile {
  const lines = text.split('\n')
  // What follows the last line feed is no line, unless it has characters.
  if (lines.at(-1) === '') lines.pop()
  return { lines, directives: new FileParser(lines).parse() }
}

/** @returns the text of the file with other outputs, and everything else as it was */
export function withOutputs({ lines, directives }: DataFile, outputs: readonly string[]): string {
  const written: string[] = []
  let next = 0
  for (const [place, { output }] of directives.entries()) {
    written.push(...lines.slice(next, output.from), SEPARATOR)
    written.push(...outputLines(outputs[place] ?? ''))
    next = output.to
  }
  return [...written, ...lines.slice(next), ''].join('\n')
}

function outputLines(output: string): string[] {
  const lines = output === '' ? [] : output.replace(/\n$/, '').split('\n')
  const isDouble = lines.some((line) => line.trim() === '') || lines[0] === SEPARATOR
  return isDouble ? [SEPARATOR, ...lines, SEPARATOR, SEPARATOR] : lines
}

class FileParser {
  readonly #lines: readonly string[]
  #next = 0

  constructor(lines: readonly string[]) {
    this.#lines = lines
  }

  parse(): Directive[] {
    const directives: Directive[] = []
    while (this.#next < this.#lines.length) {
      const directive = this.#directive()
      if (directive !== undefined) directives.push(directive)
    }
    return directives
  }

  #read(): string | undefined {
    const line = this.#lines[this.#next]
    if (line !== undefined) this.#next += 1
    return line
  }

  /** @returns undefined for an empty line, a comment, or the name of a part of the file */
  #directive(): Directive | undefined {
    const line = this.#next + 1
    let text = (this.#read() ?? '').trim()
    if (text === '' || text.startsWith('#')) return undefined
    while (text.endsWith('\\')) text = `${text.slice(0, -1)} ${(this.#read() ?? '').trim()}`
    const { command, words } = this.#attempt(line, () => parseDirectiveLine(text))
    if (command === 'subtest') return undefined
    const input = this.#input()
    const from = input === undefined ? this.#lines.length : this.#next - 1
    const { expected, to } =
      input === undefined ? { expected: '', to: from } : this.#attempt(line, () => this.#output())
    return { command, words, input: input ?? '', expected, line, output: { from, to } }
  }

  #attempt<T>(line: number, parse: () => T): T {
    try {
      return parse()
    } catch (error) {
      throw new Error(`Line ${line}: ${(error as Error).message}`, { cause: error })
    }
  }

  /** @returns undefined when the file ends before a separator */
  #input(): string | undefined {
    const lines: string[] = []
    for (let line = this.#read(); line !== SEPARATOR; line = this.#read()) {
      if (line === undefined) return undefined
      lines.push(line)
    }
    return lines.join('\n').trim()
  }

  #output(): { expected: string; to: number } {
    const lines: string[] = []
    let line = this.#read()
    if (line === SEPARATOR) return this.#doubleOutput()
    for (; line !== undefined && line.trim() !== ''; line = this.#read()) lines.push(line)
    return { expected: joined(lines), to: line === undefined ? this.#next : this.#next - 1 }
  }

  #doubleOutput(): { expected: string; to: number } {
    const lines: string[] = []
    for (let line = this.#read(); line !== undefined; line = this.#read()) {
      if (line !== SEPARATOR || this.#lines[this.#next] !== SEPARATOR) {
        lines.push(line)
        continue
      }
      this.#read()
      const to = this.#next
      if ((this.#read() ?? '') !== '') throw new Error('an empty line follows the closing ----')
      return { expected: joined(lines), to }
    }
    throw new Error('an output that opened with two ---- ends with two')
  }
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}

/** @throws Error for a word without a name and for a parenthesis that isn't closed */
export function parseDirectiveLine(text: string): Pick<Directive, 'command' | 'words'> {
  const [command = ''] = text.split(' ', 1)
  const words: Argument[] = []
  let at = command.length
  while (at < text.length) {
    if (/\s/.test(text[at] as string)) {
      at += 1
      continue
    }
    const [key = ''] = text.slice(at).split(/[\s=]/, 1)
    if (key === '') throw new Error(`a word has no name: ${text.slice(at)}`)
    at += key.length
    if (text[at] !== '=') {
      words.push({ key, values: [] })
      continue
    }
    const { values, length } = parseValues(text.slice(at + 1))
    words.push({ key, values })
    at += 1 + length
  }
  return { command, words }
}

/** What follows a "=": one value, or several in parentheses. */
function parseValues(text: string): { values: string[]; length: number } {
  if (!text.startsWith('(')) {
    const [value = ''] = text.split(/\s/, 1)
    return { values: [value], length: value.length }
  }
  const values: string[] = []
  let depth = 0
  let value = ''
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string
    if (character === ')' && depth === 1) {
      if (/\S/.test(text[at + 1] ?? ' ')) throw new Error(`a word follows a parenthesis: ${text}`)
      return { values: [...values, value], length: at + 1 }
    }
    if (character === '(') depth += 1
    else if (character === ')') depth -= 1
    if (character === ',' && depth === 1) {
      values.push(value)
      value = ''
      while (text[at + 1] === ' ') at += 1
    } else if (at > 0) value += character
  }
  throw new Error(`a parenthesis is not closed: ${text}`)
}
