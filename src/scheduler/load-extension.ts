import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { InvalidConfiguration } from '../errors.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { guardedFilter, guardedWeigher, type OnFailure } from './guarded-extension.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'

/**
 * Loads filters from modules named in the configuration.
 *
 * @param folder what relative paths are relative to
 * @param onFailure hears of those that fail later, when they are asked
 * @throws InvalidConfiguration naming the module and what is wrong with it
 */
export async function loadFilters(
  paths: readonly string[],
  folder: string,
  onFailure: OnFailure,
): Promise<readonly HostFilter[]> {
  const filters = await Promise.all(paths.map((path) => load(path, folder, 'extra_filters', filterOf)))
  return filters.map((filter) => guardedFilter(filter, onFailure))
}

/** As `loadFilters`, for weighers; a multiplier left out is 1. */
export async function loadWeighers(
  paths: readonly string[],
  folder: string,
  onFailure: OnFailure,
): Promise<readonly HostWeigher[]> {
  const weighers = await Promise.all(paths.map((path) => load(path, folder, 'extra_weighers', weigherOf)))
  return weighers.map((weigher) => guardedWeigher(weigher, onFailure))
}

async function load<T>(
  path: string,
  folder: string,
  option: string,
  extensionOf: (value: Readonly<Record<string, unknown>>) => T | string,
): Promise<T> {
  const module = await importModule(resolve(folder, path), path, option)
  const value = module.default
  if (typeof value !== 'object' || value === null) {
    throw invalid(path, option, 'has no default export that is an object', 'see sevbus/scheduler')
  }
  const extension = extensionOf(value as Readonly<Record<string, unknown>>)
  if (typeof extension === 'string') throw invalid(path, option, extension, 'see sevbus/scheduler')
  return extension
}

async function importModule(file: string, path: string, option: string): Promise<{ readonly default?: unknown }> {
  try {
    return (await import(pathToFileURL(file).href)) as { readonly default?: unknown }
  } catch (error) {
    const problem = `cannot be loaded: ${(error as Error).message}`
    throw invalid(path, option, problem, 'name a JavaScript module that Node can import', error)
  }
}

function filterOf(value: Readonly<Record<string, unknown>>): HostFilter | string {
  if (typeof value.name !== 'string' || value.name === '') return 'is no filter: it has no name'
  if (typeof value.reject !== 'function') return `is no filter: ${value.name} has no function reject(host, request)`
  return value as unknown as HostFilter
}

function weigherOf(value: Readonly<Record<string, unknown>>): HostWeigher | string {
  if (typeof value.name !== 'string' || value.name === '') return 'is no weigher: it has no name'
  if (typeof value.weigh !== 'function') return `is no weigher: ${value.name} has no function weigh(host, request)`
  const { multiplier = 1 } = value
  if (!Number.isFinite(multiplier)) return `is no weigher: the multiplier of ${value.name} is not a number`
  const weigher = value as unknown as HostWeigher
  const concern = weigher.concern?.bind(value)
  const weigh = weigher.weigh.bind(value)
  return { name: value.name, multiplier: multiplier as number, weigh, ...(concern && { concern }) }
}

function invalid(path: string, option: string, problem: string, fix: string, cause?: unknown): InvalidConfiguration {
  return new InvalidConfiguration(
    `scheduler.${option}: ${path} ${problem}`,
    { problems: [{ key: `scheduler.${option}`, value: path, problem }], fix },
    { cause },
  )
}
