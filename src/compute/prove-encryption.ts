import { EncryptionNotEffective } from '../errors.ts'
import type { ComputePorts } from './compute-ports.ts'
import { domainIdOf } from './libvirt/parse-domain.ts'
import { type Expected, encryptionFlaw } from './libvirt/verify-encryption.ts'
import { type PatienceOptions, untilDone } from './patience.ts'

type Ports = Pick<ComputePorts, 'driver' | 'proven'>

/**
 * Fail closed: what counts is the guest that runs.
 *
 * @param expected null: it is to run in clear
 * @throws EncryptionNotEffective
 */
export async function verifyEncryption(
  uuid: string,
  expected: Expected | null,
  { driver, proven }: Ports,
  signal: AbortSignal,
): Promise<void> {
  if (expected === null) return proven.noteInClear(uuid)
  const [xml, launch] = await Promise.all([driver.domainXml(uuid, signal), driver.launch(uuid, signal)])
  const flaw = encryptionFlaw(xml, launch, expected)
  if (flaw !== undefined) {
    throw new EncryptionNotEffective(`the guest was to run with ${expected.model}, but ${flaw}; it was taken down`, {
      instance_uuid: uuid,
      model: expected.model,
      flaw,
    })
  }
  const domainId = domainIdOf(xml)
  if (domainId !== undefined) proven.note(uuid, domainId)
}

/**
 * As at the first boot: what is not proven does not run.
 *
 * @throws EncryptionNotEffective
 */
export async function proveOrPowerOff(
  uuid: string,
  expected: Expected | null,
  ports: Ports & Pick<PatienceOptions, 'logger' | 'retryDelaysMs'>,
  signal: AbortSignal,
): Promise<void> {
  const { driver } = ports
  try {
    await verifyEncryption(uuid, expected, ports, signal)
  } catch (error) {
    // The proof is left to whoever takes over: the newer work, or the next start of the worker.
    signal.throwIfAborted()
    await untilDone(`power off ${uuid}`, () => driver.powerOff(uuid), ports, signal)
    throw error
  }
}
