// atoll-mesh: what an edge app imports.

export { createNode } from './api/embedded-node.ts'
export type { LocalNode } from './node/create-node.ts'
export type { Node } from './node/node.ts'
export type { NodeEvents, PeerEvent } from './node/node-events.ts'
export type { MemberStatus, NodeStatus } from './node/status.ts'
export type { ScrubOutcome } from './node/colleagues.ts'
export type { GroupsReport, GroupStatus, Recovery } from './node/shard-groups.ts'
export type { NodeOptions } from './node/options.ts'
export { readUnchangedFile } from './node/file-source.ts'
export type {
  DirectoryItem,
  Files,
  FileSource,
  FileStat,
  GetOptions,
  PutOptions as FilePutOptions,
  PutProgress,
  PutResult
} from './services/files/files.ts'
export { connect, type ConnectOptions, type RemoteNode } from './api/remote/connect.ts'
export { task, type TaskDefinition } from './services/compute/code/task.ts'
export type { TaskContext } from './services/compute/code/task-context.ts'
export type { TaskOptions } from './services/compute/task-options.ts'
export type {
  Compute,
  ExecOptions,
  MapOptions,
  RunOptions,
  SubmitOptions
} from './services/compute/compute.ts'
export type { DagNode } from './services/compute/dag.ts'
export type { FileRef } from './services/compute/input-files.ts'
export type { DeadLetter, Job, JobProgress, TaskValue } from './services/compute/job.ts'
export type { JobInfo } from './services/compute/jobs.ts'
export type { MapReduceProgram } from './services/compute/map-reduce-task.ts'
export { topology, type Topology } from './services/topology/topology.ts'
export type {
  BoltContext,
  OperatorContext,
  OperatorState,
  SpoutContext,
  TopologyDefinition,
  TopologyOptions
} from './services/topology/definition.ts'
export type {
  InstanceStatus,
  OperatorStatus,
  RunningTopology,
  TopologyInfo,
  TopologyStatus
} from './services/topology/topologies.ts'
export { compare, op, type TxnOutcome } from './services/kv/txn.ts'
export type { Kv, PutOptions, ReadOptions } from './services/kv/kv.ts'
export type { KvEntry } from './services/kv/entry.ts'
export type { Key, Selector, Value } from './services/kv/key.ts'
export type { ListPage } from './services/kv/list.ts'
export type { Watch, WatchEvent, WatchOptions } from './services/kv/watch.ts'
export type { Lease } from './services/leases/leases.ts'
export type { AcquireOptions, HolderInfo, Lock, Locks } from './services/locks/locks.ts'
export type { Blocks, BlocksStatus } from './blocks/blocks.ts'
export { MeshError, isMeshError, type ErrorCode } from './base/errors.ts'
export type { Logger, LogFields } from './base/log.ts'
export type { BlockId, MeshId, PeerId } from './base/ids.ts'
