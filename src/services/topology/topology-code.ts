// From a topology to the code that travels.

import { bundle } from '../compute/code/bundler.ts'
import { existing } from '../compute/code/bundle-file.ts'
import { OWN_MODULES } from '../compute/code/own-modules.ts'
import { isMain, sourceOf } from '../compute/code/code-of.ts'
import { isMeshError, MeshError } from '../../base/errors.ts'
import { checkTopology, type TopologyDefinition } from './definition.ts'
import { withImported } from './imported.ts'

/** A topology with its code. */
export type BundledTopology = {
  readonly definition: TopologyDefinition
  readonly source: Uint8Array
}

/**
 * @returns its functions where they use nothing from around them; else its file with all it imports
 * @throws not-self-contained, invalid-code, too-large
 */
export async function codeOfTopology(definition: TopologyDefinition): Promise<BundledTopology> {
  checkTopology(definition)
  const { name, options, operators, file } = definition
  const functions = operators.flatMap(({ fn, groupBy, flush }, index) => [
    [`fn${index}`, fn],
    ...(groupBy === undefined ? [] : [[`groupBy${index}`, groupBy]]),
    ...(flush === undefined ? [] : [[`flush${index}`, flush]])
  ])
  try {
    const own = await sourceOf(Object.fromEntries(functions) as Record<string, unknown>)
    const plain = operators.map((one) => {
      return { name: one.name, kind: one.kind, parallel: one.parallel, from: one.from }
    })
    const source = [
      `import { topologyOf } from ${JSON.stringify(OWN_MODULES.topologyOf)}`,
      `topologyOf(${JSON.stringify({ name, options, operators: plain })}, ${own})`
    ]
    const made = await bundle({ source: source.join('\n'), folder: process.cwd() })
    return { definition, source: made.source }
  } catch (error) {
    if (!isMeshError(error, 'not-self-contained') || file === undefined || isMain(file)) {
      throw error
    }
    return { definition, source: (await bundle({ file })).source }
  }
}

/** @returns the topology that a file exports as its default @throws not-found, invalid-argument, … */
export async function topologyOfFile(file: string): Promise<BundledTopology> {
  const { source } = await bundle({ file: await existing(file) })
  const definition = await withImported(source, (module) => module['default'])
  const { name, operators } = (definition ?? {}) as Partial<TopologyDefinition>
  if (typeof name !== 'string' || !Array.isArray(operators)) {
    const advice = 'export default topology(…)'
    throw new MeshError('invalid-argument', `${file} exports no topology: ${advice}`)
  }
  checkTopology(definition as TopologyDefinition)
  return { definition: definition as TopologyDefinition, source }
}
