// Counts words in files of the mesh:
//
//   atoll mapreduce examples/programs/word-count.ts --input books --output counts

/** Pairs of a word and 1, of one line. */
export function* map(line: string): Generator<[string, number]> {
  for (const word of line.split(/[ \t\r\n\f\v]+/)) if (word !== '') yield [word, 1]
}

/** Early sums, so that less has to travel. */
export function combine(_word: string, counts: number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

export function reduce(_word: string, counts: number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
