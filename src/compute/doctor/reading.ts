import type { Tool } from '../run-tool.ts'
import type { Check, Finding } from './finding.ts'
import { warn } from './finding.ts'
import type { FolderState } from './look-at-folder.ts'

/** What became of looking something up. */
export type Reading<T> =
  | { readonly state: 'read'; readonly value: T }
  /** There is no such thing. */
  | { readonly state: 'absent'; readonly path: string }
  /** It is there, or may be, and cannot be looked at. */
  | { readonly state: 'unreadable'; readonly path: string; readonly why: string }

/** A node below `/dev`. */
export interface DeviceNode {
  readonly isCharacter: boolean
  readonly major: number
  readonly minor: number
  /** `0660` */
  readonly mode: string
}

/** The files of the host: the whole world that doctor looks at, beside libvirt. Paths begin below the host's root. */
export interface HostFiles {
  text(path: string): Promise<Reading<string>>
  /** As many bytes as there are, at most so many. */
  bytes(path: string, position: number, length: number): Promise<Reading<Uint8Array>>
  names(folder: string): Promise<Reading<readonly string[]>>
  device(path: string): Promise<Reading<DeviceNode>>
  /** Where guests' disks are made; on the worker's own machine. */
  folder(path: string): Promise<Reading<FolderState>>
  /** Where the first of these programs is that is installed; on the worker's own machine. */
  program(anyOf: readonly [Tool, ...Tool[]]): Promise<Reading<string>>
}

export function read<T>(value: T): Reading<T> {
  return { state: 'read', value }
}

export function readValue<T>(reading: Reading<T>): T | undefined {
  return reading.state === 'read' ? reading.value : undefined
}

/** @param parse undefined: it is not what was expected there */
export function parsed<T, U>(reading: Reading<T>, path: string, parse: (value: T) => U | undefined): Reading<U> {
  if (reading.state !== 'read') return reading
  const value = parse(reading.value)
  return value === undefined ? { state: 'unreadable', path, why: 'its content is not understood' } : read(value)
}

/** What cannot be read is no pass: nobody knows. @param fix how to let it be read */
export function unknown(check: Check, reading: Reading<unknown>, fix: string): Finding {
  return warn(check, 'cannot be told', whyUnread(reading), fix)
}

export function whyUnread(reading: Reading<unknown>): string {
  if (reading.state === 'read') return 'it can be read'
  return reading.state === 'absent' ? `${reading.path} is not there` : `${reading.path}: ${reading.why}`
}
