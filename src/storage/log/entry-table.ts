// Where the entries of a group are, and their terms, in four arrays of numbers: a log may hold
// millions of entries, and an object for each would cost more memory than they do.

/** Entries per segment that some group still needs. */
export class SegmentUse {
  readonly #counts = new Map<number, number>()
  readonly #written = new Map<number, number>()

  add(segment: number, count: number): void {
    if (segment !== NOWHERE) this.#counts.set(segment, this.countIn(segment) + count)
  }

  countIn(segment: number): number {
    return this.#counts.get(segment) ?? 0
  }

  /** Counts entries that a segment was given, whatever becomes of them. */
  noteWritten(segment: number, count: number): void {
    this.#written.set(segment, (this.#written.get(segment) ?? 0) + count)
  }

  /** @returns the part of the segment's entries that is needed: 0 to 1. */
  fractionOf(segment: number): number {
    return this.countIn(segment) / Math.max(1, this.#written.get(segment) ?? 0)
  }

  forget(segment: number): void {
    this.#counts.delete(segment)
    this.#written.delete(segment)
  }
}

/** The segment of entries that must exist and weren't found yet. Only while a log is read. */
const NOWHERE = 0

export type TermRun = { readonly term: number; readonly count: number }

/** A record's place; all of an entry's record is read to read it. */
export type RecordPlace = {
  readonly segment: number
  /** Bytes from the beginning of the segment. */
  readonly offset: number
}

/** Consecutive entries of one term in one record, `end` not included. */
export type EntryRun = RecordPlace & {
  readonly first: number
  readonly end: number
  readonly term: number
}

/** Entries from `first` on that one record holds. */
export type EntryRange = { readonly first: number; readonly terms: readonly TermRun[] }

export class EntryTable {
  readonly #use: SegmentUse
  /** Ascending; a run ends where the next begins. */
  readonly #firsts: number[] = []
  readonly #terms: number[] = []
  readonly #segments: number[] = []
  readonly #offsets: number[] = []
  #end = 0

  constructor(use: SegmentUse) {
    this.#use = use
  }

  isEmpty(): boolean {
    return this.#firsts.length === 0
  }

  /** Of the first entry; 0 when there is none. */
  get first(): number {
    return this.#firsts[0] ?? 0
  }

  /** One more than the index of the last entry; 0 when there is none. */
  get end(): number {
    return this.isEmpty() ? 0 : this.#end
  }

  /** Is no entry missing between the first and the last? */
  isWhole(): boolean {
    return !this.#segments.includes(NOWHERE)
  }

  /** @returns the run that an index lies in; undefined when it isn't here. */
  runOf(index: number): EntryRun | undefined {
    if (this.isEmpty() || index < this.first || index >= this.#end) return undefined
    const run = this.#runAt(this.#find(index))
    return run.segment === NOWHERE ? undefined : run
  }

  /** Puts entries in place of everything from the first of them on. */
  append(range: EntryRange, place: RecordPlace): void {
    this.cutFrom(range.first)
    this.#bridge(range.first)
    this.#push(range, place)
  }

  /** Says that entries are somewhere else now; entries after them stay. */
  move(range: EntryRange, place: RecordPlace): void {
    const end = range.terms.reduce((sum, { count }) => sum + count, range.first)
    const rest: EntryRun[] = []
    for (let index = Math.max(end, this.first); index < this.end;) {
      const run = this.#runAt(this.#find(index))
      rest.push({ ...run, first: index })
      index = run.end
    }
    this.append(range, place)
    for (const run of rest) {
      this.#bridge(run.first)
      this.#push({ first: run.first, terms: [{ term: run.term, count: run.end - run.first }] }, run)
    }
  }

  /** Forgets entries from `index` on. */
  cutFrom(index: number): void {
    while (!this.isEmpty() && index < this.#end) {
      const last = this.#firsts.length - 1
      const first = Math.max(this.#firsts[last] as number, index)
      this.#use.add(this.#segments[last] as number, first - this.#end)
      this.#end = first
      if (first !== this.#firsts[last]) return
      for (const column of this.#columns()) column.pop()
    }
  }

  /** Forgets entries up to `index`, which is included. */
  dropUpTo(index: number): void {
    if (this.isEmpty() || index < this.first) return
    const keptFrom = Math.min(index + 1, this.#end)
    const kept = keptFrom === this.#end ? this.#firsts.length : this.#find(keptFrom)
    for (let position = 0; position < kept; position++) this.#useRun(this.#runAt(position), -1)
    for (const column of this.#columns()) column.splice(0, kept)
    if (this.isEmpty()) return
    this.#use.add(this.#segments[0] as number, this.first - keptFrom)
    this.#firsts[0] = keptFrom
  }

  clear(): void {
    this.cutFrom(0)
  }

  /** @returns the runs that lie in a segment. */
  runsIn(segment: number): EntryRun[] {
    const runs: EntryRun[] = []
    let position = this.#segments.indexOf(segment)
    while (position !== -1) {
      runs.push(this.#runAt(position))
      position = this.#segments.indexOf(segment, position + 1)
    }
    return runs
  }

  #columns(): number[][] {
    return [this.#firsts, this.#terms, this.#segments, this.#offsets]
  }

  /** Marks what is missing before `first`, if anything. */
  #bridge(first: number): void {
    if (this.isEmpty() || first === this.#end) return
    const terms = [{ term: 0, count: first - this.#end }]
    this.#push({ first: this.#end, terms }, { segment: NOWHERE, offset: 0 })
  }

  #push(range: EntryRange, place: RecordPlace): void {
    this.#end = range.first
    for (const { term, count } of range.terms) {
      this.#firsts.push(this.#end)
      this.#terms.push(term)
      this.#segments.push(place.segment)
      this.#offsets.push(place.offset)
      this.#use.add(place.segment, count)
      this.#end += count
    }
  }

  #useRun(run: EntryRun, sign: 1 | -1): void {
    this.#use.add(run.segment, sign * (run.end - run.first))
  }

  #runAt(position: number): EntryRun {
    return {
      first: this.#firsts[position] as number,
      end: this.#firsts[position + 1] ?? this.#end,
      term: this.#terms[position] as number,
      segment: this.#segments[position] as number,
      offset: this.#offsets[position] as number
    }
  }

  /** @returns the position of the run that holds `index`, which lies in the table. */
  #find(index: number): number {
    let low = 0
    let high = this.#firsts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#firsts[middle] as number) <= index) low = middle
      else high = middle - 1
    }
    return low
  }
}
