import { EncryptionNotEffective, LibvirtError, type SevbusError, toSevbusError } from '../errors.ts'
import type { ComputePorts } from './compute-ports.ts'
import { domainIdOf } from './libvirt/parse-domain.ts'
import { type Expected, encryptionFlaw } from './libvirt/verify-encryption.ts'
import { doesNotAnswer, type PatienceOptions, untilDone } from './patience.ts'

type Ports = Pick<ComputePorts, 'driver' | 'proven'>
type PatientPorts = Ports & Pick<PatienceOptions, 'logger' | 'retryDelaysMs'>

/** A daemon that is started anew, or a guest that is at something else, is asked so often in all. */
const ASKED_AT_MOST = 5

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
 * Verifies it, and asks again where nobody could say what the guest is: that alone takes no guest down.
 *
 * @throws EncryptionNotEffective, why it could not be asked in the end, or the signal's reason
 */
export async function proveEncryption(
  uuid: string,
  expected: Expected | null,
  ports: PatientPorts,
  signal: AbortSignal,
): Promise<void> {
  let asked = 0
  const isWorthAnotherTry = (error: SevbusError) =>
    ++asked < ASKED_AT_MOST && (error instanceof LibvirtError || doesNotAnswer(error))
  const verify = () => verifyEncryption(uuid, expected, ports, signal)
  await untilDone(`prove the encryption of guest ${uuid}`, verify, { ...ports, isWorthAnotherTry }, signal)
}

/**
 * As at the first boot: what is not proven does not run. While the hypervisor does not answer that waits: whoever has begun this
 * does it again, and has not done it before the guest is proven.
 *
 * @throws EncryptionNotEffective, why it could not be asked, or the signal's reason
 */
export async function proveOrPowerOff(
  uuid: string,
  expected: Expected | null,
  ports: PatientPorts,
  signal: AbortSignal,
): Promise<void> {
  const { driver } = ports
  try {
    await proveEncryption(uuid, expected, ports, signal)
  } catch (error) {
    // The proof is left to whoever takes over: the newer work, or the next start of the worker.
    signal.throwIfAborted()
    if (doesNotAnswer(toSevbusError(error))) throw error
    await untilDone(`power off ${uuid}`, () => driver.powerOff(uuid), ports, signal)
    throw error
  }
}
