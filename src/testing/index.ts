// atoll-mesh/testing: a mesh inside a test.

export { createTestMesh } from './test-mesh.ts'
export type { TestMesh, TestMeshOptions } from './contract.ts'
export type { MemoryFaults } from '../net/memory/memory-world.ts'
