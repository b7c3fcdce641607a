// The services of the mesh inside of a task. The connection to the node is made when a task first
// asks for something, and belongs to the thread.

import { pathToFileURL } from 'node:url'
import { MeshError } from '../../base/errors.ts'
import type { ClientSource } from './messages.ts'

type Services = Readonly<Record<'files' | 'kv' | 'locks' | 'streams', object>>
type Connect = (address: { api: string; token: string }) => Promise<Services>
type Method = (...args: unknown[]) => unknown

export class TaskClient {
  readonly #source: ClientSource | undefined
  readonly #faces = new Map<keyof Services, object>()
  #services: Promise<Services> | undefined

  constructor(source: ClientSource | undefined) {
    this.#source = source
  }

  /**
   * @returns an object with the methods of a service. Each call waits for the connection; what it
   *   returns can be awaited, or iterated where the method's own result can.
   */
  face(name: keyof Services): object {
    const known = this.#faces.get(name)
    if (known !== undefined) return known
    const face = new Proxy({}, { get: (_, method) => this.#method(name, method) })
    this.#faces.set(name, face)
    return face
  }

  #method(name: keyof Services, method: string | symbol): Method | undefined {
    // Else awaiting the face would call it.
    if (method === 'then' || typeof method === 'symbol') return undefined
    return (...args) => new Later(this.#call(name, method, args))
  }

  async #call(
    name: keyof Services,
    method: string,
    args: readonly unknown[]
  ): Promise<{ result: unknown }> {
    this.#services ??= this.#connect()
    const service = (await this.#services)[name] as Record<string, unknown>
    const run = service[method]
    if (typeof run !== 'function') {
      throw new MeshError('invalid-argument', `There is no ${name}.${method} in a task`)
    }
    // Not awaited here: what is both is iterated by who called.
    return { result: (run as Method).apply(service, [...args]) }
  }

  async #connect(): Promise<Services> {
    try {
      if (this.#source === undefined) {
        const advice = 'it was started inside of another program; use "atoll up"'
        throw new MeshError('unreachable', `The node has no local API for its tasks: ${advice}`)
      }
      const { module, api, token } = this.#source
      const url = module.startsWith('file:') ? module : pathToFileURL(module).href
      const { connect } = (await import(url)) as { connect: Connect }
      return await connect({ api, token })
    } catch (error) {
      this.#services = undefined
      throw error
    }
  }
}

/** The result of a call that waits for a connection. */
class Later implements AsyncIterableIterator<unknown> {
  readonly #called: Promise<{ result: unknown }>
  #iterator: Promise<AsyncIterator<unknown>> | undefined

  constructor(called: Promise<{ result: unknown }>) {
    this.#called = called
    // Told to whoever awaits or iterates it.
    called.catch(() => {})
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it stands for the promise of the method itself
  then(...handlers: Parameters<Promise<unknown>['then']>): Promise<unknown> {
    return this.#settled().then(...handlers)
  }

  catch(...handlers: Parameters<Promise<unknown>['catch']>): Promise<unknown> {
    return this.#settled().catch(...handlers)
  }

  finally(...handlers: Parameters<Promise<unknown>['finally']>): Promise<unknown> {
    return this.#settled().finally(...handlers)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<unknown>> {
    return await (await this.#iterated()).next()
  }

  async return(): Promise<IteratorResult<unknown>> {
    const iterator = await this.#iterated()
    return (await iterator.return?.()) ?? { done: true, value: undefined }
  }

  async #settled(): Promise<unknown> {
    return await (
      await this.#called
    ).result
  }

  async #iterated(): Promise<AsyncIterator<unknown>> {
    this.#iterator ??= this.#called.then(({ result }) => {
      const iterable = result as Partial<AsyncIterable<unknown>>
      if (typeof iterable[Symbol.asyncIterator] === 'function') {
        return (iterable as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      }
      throw new MeshError('invalid-argument', 'What was called gives one result, not a sequence')
    })
    return await this.#iterator
  }
}
