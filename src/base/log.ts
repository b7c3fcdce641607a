// Logging as an interface: a constant event name and fields, never prose.

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Peer ids in full; never payloads or keys. */
export type Logger = {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

const ignore = (): void => {}

/** Drops everything. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
