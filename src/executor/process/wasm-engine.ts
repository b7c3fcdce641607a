// WebAssembly as the engine has it: the types of Node.js don't name it.

export type WasmMemory = { readonly buffer: ArrayBuffer }
export type WasmModule = { readonly isCompiled: unique symbol }
type Described = { readonly name: string; readonly kind: string }

type WasmEngine = {
  readonly compile: (bytes: Uint8Array) => Promise<WasmModule>
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, object>>
  ) => { readonly exports: object }
  readonly Memory: new (limits: { initial: number; maximum: number }) => WasmMemory
  readonly Module: {
    readonly imports: (module: WasmModule) => readonly (Described & { readonly module: string })[]
    readonly exports: (module: WasmModule) => readonly Described[]
  }
  readonly RuntimeError: new () => Error
}

export const engine: WasmEngine = (globalThis as unknown as { WebAssembly: WasmEngine }).WebAssembly
