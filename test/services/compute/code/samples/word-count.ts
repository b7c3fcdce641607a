// What `atoll map` and `atoll mapreduce` are given: a file that exports functions.

export function map(line: string): [string, number][] {
  return line.split(' ').map((word) => [word, 1])
}

export function reduce(_: string, values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

export const size = 2
