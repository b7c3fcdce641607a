// atoll-mesh: what an edge app imports.

export { createNode, type LocalNode } from './node/create-node.ts'
export type { Node, NodeEvents, PeerEvent } from './node/node.ts'
export type { MemberStatus, NodeStatus } from './node/status.ts'
export type { ScrubOutcome } from './node/colleagues.ts'
export type { NodeOptions } from './node/options.ts'
export { readUnchangedFile } from './node/file-source.ts'
export type {
  Files,
  FileSource,
  FileStat,
  GetOptions,
  PutProgress,
  PutResult
} from './services/files/files.ts'
export type { Blocks, BlocksStatus } from './blocks/blocks.ts'
export { MeshError, isMeshError, type ErrorCode } from './base/errors.ts'
export type { Logger, LogFields } from './base/log.ts'
export type { BlockId, MeshId, PeerId } from './base/ids.ts'
