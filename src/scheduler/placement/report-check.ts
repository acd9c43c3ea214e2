import { InvalidInventory } from '../../errors.ts'
import type { HostReport, ProviderReport } from '../../objects/host-report.ts'
import type { Inventory } from '../../objects/inventory.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import { DISK_GB, MEM_ENCRYPTION_CONTEXT, MEMORY_MB, VCPU } from '../../objects/resources.ts'

/** What an instance has of its host itself, wherever its slot is: two of them would be two answers to one question. */
const ROOT_RESOURCES: ReadonlySet<string> = new Set([VCPU, MEMORY_MB, DISK_GB])

/**
 * Refuses a report that cannot be true: the schema has seen each number by itself, this sees them together.
 *
 * @throws InvalidInventory naming the provider, the field and its value
 */
export function checkReport({ host, providers }: HostReport): void {
  const names = new Set<string>()
  for (const { name } of providers) {
    if (names.has(name))
      refuse(host, name, 'name', `two providers are named ${name}`, 'give each provider its own name')
    names.add(name)
  }
  const [root, ...moreRoots] = providers.filter(({ parent_name }) => parent_name === null)
  if (root === undefined || moreRoots.length > 0) {
    const roots = root === undefined ? 'no provider' : [root, ...moreRoots].map(({ name }) => name).join(' and ')
    refuse(host, roots, 'parent_name', `${roots} without a parent`, 'report one provider for the host itself')
  }
  for (const provider of providers) {
    checkName(host, provider)
    checkParent(host, provider, root.name)
    checkModel(host, provider)
    for (const [resourceClass, inventory] of Object.entries(provider.inventories)) {
      checkPlace(host, provider, resourceClass)
      checkInventory(host, provider.name, resourceClass, inventory)
    }
  }
}

/** Named after its host, as Nova names them: else a host could take the name of another one's pool before that reports. */
function checkName(host: string, { name, parent_name }: ProviderReport): void {
  if (parent_name === null ? name === host : name.startsWith(`${host}_`)) return
  const fix = parent_name === null ? `name the host's own provider ${host}` : `begin its name with ${host}_`
  refuse(host, name, 'name', `provider ${name} is not named after its host`, fix)
}

/** Pools stand right under the host; nothing of ours makes a deeper tree. */
function checkParent(host: string, { name, parent_name }: ProviderReport, root: string): void {
  if (parent_name === null || parent_name === root) return
  refuse(host, name, 'parent_name', `${name} has the parent ${parent_name}`, `its parent must be ${root}`)
}

/** Which model's guests have slots of a pool must be beyond doubt. */
function checkModel(host: string, { name, traits }: ProviderReport): void {
  const models = Object.values(MEM_ENCRYPTION_MODELS).filter(({ trait }) => traits.includes(trait))
  if (models.length <= 1) return
  const named = models.map(({ trait }) => trait).join(' and ')
  refuse(host, name, 'traits', `${name} has the traits ${named}`, 'report a pool for each model')
}

/** Claims take processors, memory and disk of the host, and a slot of a pool: offered elsewhere, nobody would ever get them. */
function checkPlace(host: string, { name, parent_name }: ProviderReport, resourceClass: string): void {
  if (parent_name === null && resourceClass === MEM_ENCRYPTION_CONTEXT) {
    const fix = `report them of a pool under ${name}, with the trait of their model`
    refuse(host, name, 'inventories', `${name} itself has ${resourceClass}`, fix)
  }
  if (parent_name !== null && ROOT_RESOURCES.has(resourceClass)) {
    refuse(host, name, 'inventories', `the pool ${name} has ${resourceClass}`, `report it of ${parent_name}`)
  }
}

type Lie = (field: string, problem: string, fix: string) => void

function checkInventory(host: string, provider: string, resourceClass: string, inventory: Inventory): void {
  const { total, reserved, min_unit, max_unit, step_size } = inventory
  const lie: Lie = (field, problem, fix) =>
    refuse(host, provider, field, `${resourceClass} of ${provider} has ${problem}`, fix)
  for (const [field, value] of Object.entries({ total, reserved, min_unit, max_unit, step_size })) {
    if (!Number.isInteger(value) || value < 0) lie(field, `${field} ${value}`, 'report a whole number')
  }
  checkRatio(resourceClass, inventory, lie)
  if (total < 1) lie('total', `total ${total}`, 'leave out a resource that the host has none of')
  if (reserved > total) lie('reserved', `${reserved} reserved of ${total}`, 'reserve at most the total')
  if (min_unit < 1 || min_unit > max_unit) {
    lie('min_unit', `min_unit ${min_unit} and max_unit ${max_unit}`, 'report min_unit from 1 up to max_unit')
  }
  if (step_size < 1) lie('step_size', `step_size ${step_size}`, 'report a step_size from 1')
  if (Math.floor(max_unit / step_size) * step_size < min_unit) {
    const problem = `step_size ${step_size}, of which no multiple is from ${min_unit} to ${max_unit}`
    lie('step_size', problem, 'report a step_size that some amount fits')
  }
}

function checkRatio(resourceClass: string, { total, allocation_ratio }: Inventory, lie: Lie): void {
  if (!(allocation_ratio > 0 && allocation_ratio <= 1000)) {
    lie('allocation_ratio', `allocation_ratio ${allocation_ratio}`, 'report a ratio above 0, at most 1000')
  }
  if (resourceClass === MEM_ENCRYPTION_CONTEXT && allocation_ratio !== 1) {
    lie('allocation_ratio', `allocation_ratio ${allocation_ratio}`, "report 1: a key is one guest's")
  }
  if (total >= 1 && Math.floor(total * allocation_ratio) < 1) {
    const problem = `allocation_ratio ${allocation_ratio}, with which there is nothing to allocate of ${total}`
    lie('allocation_ratio', problem, 'report a larger one, or leave the resource out')
  }
}

function refuse(host: string, provider: string, field: string, problem: string, fix: string): never {
  throw new InvalidInventory(`the report of ${host} was not taken: ${problem}; ${fix}`, { host, provider, field, fix })
}
