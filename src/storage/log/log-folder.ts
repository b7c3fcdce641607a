// What the log needs of a folder of files, so that one log runs on a disk and in memory.

/** A file of a size that was settled when it was made. Errors are MeshErrors. */
export type LogFile = {
  /** Bytes; fewer than it was made with when somebody cut it. */
  readonly size: number
  /**
   * Fills `buffer` from `position` (bytes), at once.
   * @returns bytes read, fewer when the file ends before
   * @throws storage-failed
   */
  read(buffer: Uint8Array, position: number): number
  /** Writes `bytes` at `position`. Durable when it resolves. @throws storage-failed */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** Makes durable what an earlier process wrote. @throws storage-failed */
  sync(): Promise<void>
  close(): Promise<void>
}

/** Names are of files in the folder. */
export type LogFolder = {
  /**
   * Makes the folder unless it is there, and clears away what {@link LogFolder.create} left when it
   * was cut off.
   * @returns names of files, in any order; durable ones
   */
  open(): Promise<string[]>
  openFile(name: string): Promise<LogFile>
  /**
   * Makes a file of `size` bytes that begins with `head`, the rest zeros. When it resolves file and
   * name are durable, and the room is taken; before that there is no such name.
   * @throws disk-full, overloaded: nothing of it stays
   * @throws storage-failed
   */
  create(name: string, options: { head: Uint8Array; size: number }): Promise<LogFile>
  /** Removes a file; durable when it resolves. @throws disk-full, storage-failed */
  remove(name: string): Promise<void>
  close(): Promise<void>
}
