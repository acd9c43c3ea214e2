import { InstanceInvalidState, RebuildLosesEncryption } from '../errors.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Instance, VmState } from './instance.ts'
import { type LaunchRequest, launchRequest } from './launch-request.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, MemEncryptionModel } from './mem-encryption.ts'

/** Nova's, but for what is shelved or rescued: it is made to rest first. */
const REBUILDABLE: readonly VmState[] = ['active', 'stopped', 'error']

/**
 * Only what rests on a host can be rebuilt there.
 *
 * @returns the host
 * @throws InstanceInvalidState
 */
export function hostToRebuildOn({ uuid, vm_state, task_state, host }: Instance): string {
  if (REBUILDABLE.includes(vm_state) && task_state === null && host !== null) return host
  const busy = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const isLost = host === null && REBUILDABLE.includes(vm_state)
  const is = isLost ? `${busy} and on no host` : busy
  const fix = isLost ? 'delete it and boot it anew' : `see how it is with: sevbus show ${uuid}`
  throw new InstanceInvalidState(
    `instance ${uuid} is ${is}: rebuild needs an instance that is ${REBUILDABLE.join(' or ')}, on a host, and at rest; ${fix}`,
    { instance_uuid: uuid, action: 'rebuild', vm_state, task_state, host, allowed: REBUILDABLE, fix },
  )
}

/**
 * The one door again, with the new image: what could not be booted cannot be rebuilt. It is a new order, so it may ask for
 * more than the instance has; for less only by somebody's word. In Nova it just gets what the host happens to give.
 *
 * @returns the least that it may run with; null: in clear
 * @throws RebuildLosesEncryption, and what launchRequest throws
 */
export function leastOfRebuild(
  { uuid, flavor, mem_encryption: has }: Instance,
  image: ImageMeta,
  mayLose: boolean,
): MemEncryption | null {
  const { choices } = launchRequest(flavor, image)
  const enough = leading(choices, mayLose ? 0 : rank(has))
  const least = enough.at(-1)
  if (least !== undefined) return least.encryption ?? null
  // One in clear has nothing to lose.
  const { label } = MEM_ENCRYPTION_MODELS[(has as MemEncryption).model]
  const asked = choices[0].encryption
  const gets = asked === undefined ? 'no encryption' : MEM_ENCRYPTION_MODELS[asked.model].label
  const fix = `ask for it on the image (hw_mem_encryption, hw_mem_encryption_model), or say that it may be lost: --lose-encryption (allow_encryption_loss)`
  throw new RebuildLosesEncryption(
    `instance ${uuid} runs with ${label}, and with its flavor ${imageLabel(image)} asks for ${gets}; ${fix}`,
    { instance_uuid: uuid, image: image.id ?? null, has: has?.model, asked: asked?.model ?? null, fix },
  )
}

/** As many of the best as are no less than that, up to the first that is. */
function leading(choices: LaunchRequest['choices'], least: number) {
  const end = choices.findIndex(({ encryption }) => rank(encryption ?? null) < least)
  return end === -1 ? choices : choices.slice(0, end)
}

/** Each model does all that the one before it does. */
function rank(encryption: MemEncryption | null): number {
  return encryption === null ? 0 : MemEncryptionModel.options.indexOf(encryption.model) + 1
}
