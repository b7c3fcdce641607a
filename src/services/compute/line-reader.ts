// Lines of a part of a file. A file that is split anywhere gives each line to exactly one part: the
// one in which it begins.

const NEWLINE = 0x0a

/** Reads a range of a file; less where the file ends. */
export type RangeReader = (range: { offset: number; length: number }) => AsyncIterable<Uint8Array>

export type LinePart = {
  readonly offset: number
  readonly length: number
  /** Of the whole file. */
  readonly fileBytes: number
}

/** What is read beyond the part's end at once, to complete its last line. */
const TAIL_BYTES = 65_536

/** @returns the lines that begin in the part, without what ends them */
export async function* linesOf(read: RangeReader, part: LinePart): AsyncGenerator<string> {
  const { offset, length, fileBytes } = part
  const end = Math.min(offset + length, fileBytes)
  // The byte before tells whether a line begins with the part.
  let at = Math.max(0, offset - 1)
  let isSkipping = offset > 0
  let rest: Uint8Array[] = []
  const decoder = new TextDecoder()
  const lineOf = (last: Uint8Array): string => {
    const bytes = rest.length === 0 ? last : Buffer.concat([...rest, last])
    rest = []
    const text = decoder.decode(bytes)
    return text.endsWith('\r') ? text.slice(0, -1) : text
  }
  while (at < fileBytes) {
    const wanted = at < end ? end - at : Math.min(TAIL_BYTES, fileBytes - at)
    for await (const chunk of read({ offset: at, length: wanted })) {
      let from = 0
      for (;;) {
        const newline = chunk.indexOf(NEWLINE, from)
        if (newline < 0) break
        if (isSkipping) isSkipping = false
        else yield lineOf(chunk.subarray(from, newline))
        from = newline + 1
        // The next line begins after the part.
        if (at + from >= end) return
      }
      if (!isSkipping && from < chunk.length) rest.push(chunk.slice(from))
      at += chunk.length
    }
    // The skipped line reaches beyond the part: nothing begins here.
    if (isSkipping && at >= end) return
  }
  if (rest.length > 0) yield lineOf(new Uint8Array(0))
}
