// Where the result of a task is, for those that come after it and don't want all of it.

/** In the mesh, or here because it is small. Both are of the result as it was encoded. */
export type ResultRef =
  | { readonly cid: string; readonly bytes: number }
  | { readonly value: Uint8Array }
