// Every knob of membership, in ticks, with its three presets. One tick is 100 ms by convention: the
// driver decides, and a simulation may run them as fast as it can.

import { MeshError } from '../../base/errors.ts'

export type MembershipConfig = {
  /**
   * Ticks between two periodic probes (SWIM's protocol period), and how long one may take in all.
   * Times (1 + local health). Raised: less traffic, slower detection. Lowered: the reverse, and
   * false suspicion when answers take longer than a period.
   */
  probeIntervalTicks: number
  /**
   * Ticks that a direct ping may take before others are asked to try. Times (1 + local health).
   * Above the 99th percentile of a round trip. At most (probeIntervalTicks - 1) / 2, so that the
   * indirect probe has as long. Lowered: more indirect probes for nothing.
   */
  probeTimeoutTicks: number
  /** Members asked to ping for us (SWIM's k). Raised: fewer false suspicions under loss, more traffic. */
  indirectProbes: number
  /**
   * The shortest suspicion, in probe intervals per decimal digit of the member count:
   * min = suspicionMultiplier · digits(n) · probeIntervalTicks. Raised: more time to refute, later
   * `dead`. The number of independent accusers that shorten a suspicion to it is this minus 2.
   */
  suspicionMultiplier: number
  /**
   * The longest suspicion, in shortest ones: what a lone accuser has to wait for, since it may be
   * the sick one itself (Lifeguard). Raised: fewer false deaths near a sick member.
   */
  suspicionMaxMultiplier: number
  /**
   * The highest local health score: probes are slowed at most to (1 + this) times (Lifeguard's S).
   * 0 switches it off. Raised: a sick member accuses less, and detects less.
   */
  localHealthMax: number
  /**
   * λ: one piece of news is told λ · digits(n) times by each member. Raised: surer to reach
   * everyone before the next table exchange, more traffic after each change.
   */
  retransmitMultiplier: number
  /** News per message, at most; the recipient's own accusation comes on top. 1..63. */
  piggybackMax: number
  /** Ticks between two gossip messages, which are sent only while there is news. */
  gossipIntervalTicks: number
  /** Members that one gossip is sent to. Raised: faster, in larger bursts. */
  gossipFanout: number
  /**
   * Ticks, on average, between two exchanges of the whole table with one random member: finds what
   * gossip lost. Lowered: sooner, for one table's bytes each time.
   */
  syncIntervalTicks: number
  /**
   * Ticks between two pings to one random dead member: ends a partition when nobody tells us of a
   * new connection. Lowered: sooner, for one dial in vain each time.
   */
  retryDeadTicks: number
  /**
   * Ticks that a member must be dead, as seen by this node without interruption while it sees a
   * majority, before it is declared gone and its data moves. Raised: longer with fewer copies.
   * Lowered: a reboot or a moved plug moves data.
   */
  graceTicks: number
}

export type MembershipPreset = 'local' | 'lan' | 'wan'

/** For a home or office network. 15 min of grace is a reboot with updates, or a moved plug. */
const LAN = {
  probeIntervalTicks: 10,
  probeTimeoutTicks: 4,
  indirectProbes: 3,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  localHealthMax: 8,
  retransmitMultiplier: 4,
  piggybackMax: 12,
  gossipIntervalTicks: 2,
  gossipFanout: 3,
  syncIntervalTicks: 300,
  retryDeadTicks: 50,
  graceTicks: 9_000
} as const satisfies MembershipConfig

/** The other presets, as differences from `lan`. */
const DIFFERENCES: Readonly<Record<MembershipPreset, Partial<MembershipConfig>>> = {
  // Processes on one machine: answers come in a tick, and people wait.
  local: {
    probeIntervalTicks: 5,
    probeTimeoutTicks: 2,
    suspicionMultiplier: 3,
    gossipIntervalTicks: 1,
    syncIntervalTicks: 150,
    retryDeadTicks: 20
  },
  lan: {},
  // Members behind long or poor lines: patience first, and less said more often.
  wan: {
    probeIntervalTicks: 50,
    probeTimeoutTicks: 20,
    suspicionMultiplier: 5,
    gossipIntervalTicks: 5,
    gossipFanout: 4,
    syncIntervalTicks: 600,
    retryDeadTicks: 150
  }
}

const RANGES: Readonly<Record<keyof MembershipConfig, readonly [min: number, max: number]>> = {
  probeIntervalTicks: [3, 36_000],
  probeTimeoutTicks: [1, 18_000],
  indirectProbes: [0, 16],
  suspicionMultiplier: [1, 100],
  suspicionMaxMultiplier: [1, 100],
  localHealthMax: [0, 64],
  retransmitMultiplier: [1, 64],
  piggybackMax: [1, 63],
  gossipIntervalTicks: [1, 36_000],
  gossipFanout: [1, 64],
  syncIntervalTicks: [1, 360_000],
  retryDeadTicks: [1, 360_000],
  graceTicks: [1, 100_000_000]
}

/**
 * @param changes knobs that differ from the preset.
 * @throws invalid-argument for a knob outside its range, naming both.
 */
export function membershipConfig(
  preset: MembershipPreset,
  changes: Partial<MembershipConfig> = {}
): MembershipConfig {
  const config: MembershipConfig = { ...LAN, ...DIFFERENCES[preset], ...changes }
  validateMembershipConfig(config)
  return config
}

/** @throws invalid-argument for a knob outside its range, naming both. */
export function validateMembershipConfig(config: MembershipConfig): void {
  for (const name of Object.keys(RANGES) as (keyof MembershipConfig)[]) {
    const [min, max] = RANGES[name]
    if (!Number.isSafeInteger(config[name]) || config[name] < min || config[name] > max) {
      throw new MeshError(
        'invalid-argument',
        `Cannot use ${name} = ${config[name]}: it is a whole number in ${min}..${max}`
      )
    }
  }
  const timeoutMax = Math.floor((config.probeIntervalTicks - 1) / 2)
  if (config.probeTimeoutTicks > timeoutMax) {
    throw new MeshError(
      'invalid-argument',
      `Cannot use probeTimeoutTicks = ${config.probeTimeoutTicks}: with probeIntervalTicks = ` +
        `${config.probeIntervalTicks} it is a whole number in 1..${timeoutMax}`
    )
  }
}

/**
 * @returns the decimal digits of `count`, which is ⌈log10(count + 1)⌉ without floating point: what
 *   news and suspicions scale with.
 */
export function digits(count: number): number {
  let result = 1
  for (let rest = count; rest >= 10; rest = Math.floor(rest / 10)) result++
  return result
}
