// What Piscina alone runs: the task that does nothing.

export function noop(number) {
  return number
}
