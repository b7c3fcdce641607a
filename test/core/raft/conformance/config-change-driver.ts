// Directives that change a group's members, with nothing else around.

import {
  NO_MEMBERS,
  changeSimply,
  enterJoint,
  leaveJoint
} from '../../../../src/core/raft/config-change.ts'
import type {
  ChangeBase,
  ChangeProblem,
  Membership
} from '../../../../src/core/raft/config-change.ts'
import { parseSteps } from './config-change-input.ts'
import type { Directive } from './data-file.ts'
import { DirectiveError, booleanOf, demandKnown } from './directive.ts'
import { configText, progressMapText } from './texts.ts'

const LIMITS = { inflightCountMax: 10, inflightBytesMax: Infinity }

export class ConfigChangeDriver {
  #members: Membership = NO_MEMBERS
  /** One more with each directive, so that a new member tells when it came. */
  #lastIndex = 0

  run(directive: Directive): string {
    try {
      const base = { members: this.#members, lastIndex: this.#lastIndex, limits: LIMITS }
      const changed = change(base, directive)
      if (typeof changed === 'string') return changed
      this.#members = changed
      return `${configText(changed.config)}\n${progressMapText(changed.progress)}`
    } finally {
      this.#lastIndex += 1
    }
  }
}

function change(base: ChangeBase, directive: Directive): Membership | ChangeProblem {
  const { command, input } = directive
  demandKnown(directive, command === 'enter-joint' ? ['autoleave'] : [])
  const steps = parseSteps(input)
  if (command === 'simple') return changeSimply(base, steps)
  if (command === 'enter-joint') {
    return enterJoint(base, steps, booleanOf(directive, 'autoleave') ?? false)
  }
  if (command !== 'leave-joint') throw new DirectiveError('unknown command')
  if (steps.length > 0) throw new DirectiveError('this command takes no input')
  return leaveJoint(base)
}
