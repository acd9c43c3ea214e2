import { connectLibvirt, simulatedHost } from '../compose/compute-host.ts'
import { doctorOptions } from '../compose/doctor-options.ts'
import { diagnose, diagnoseSimulated, type FindingGroup } from '../compute/doctor/diagnose.ts'
import { examineHost } from '../compute/doctor/examine-host.ts'
import type { Finding } from '../compute/doctor/finding.ts'
import { LocalHostFiles } from '../compute/doctor/local-host-files.ts'
import { fakeCapabilities } from '../compute/fake/fake-capabilities.ts'
import type { Config } from '../config.ts'
import { createLogger } from '../logger.ts'
import type { MemEncryptionModel } from '../objects/mem-encryption.ts'
import { diagnosisOf } from './diagnosis.ts'
import { diagnosisText } from './doctor-view.ts'
import { EXIT } from './exit-codes.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig, timeoutOf } from './session.ts'

export interface DoctorCommandOptions extends GlobalOptions {
  readonly host?: string
  readonly driver?: 'fake' | 'libvirt'
  readonly model?: readonly MemEncryptionModel[]
}

/** Looks at the host from the firmware to the worker; needs no bus and no database, and changes nothing. */
export async function doctor(options: DoctorCommandOptions): Promise<number> {
  const config = loadCliConfig(options, options.host)
  const driver = options.driver ?? driverOf(config)
  const groups = driver === 'fake' ? simulated(config, options) : await real(config, options)
  const diagnosis = diagnosisOf(config, driver, groups)
  if (options.json) printJson(diagnosis)
  else print(diagnosisText(diagnosis, process.stdout.columns))
  return diagnosis.verdict === 'fail' ? EXIT.FAILED : EXIT.OK
}

/** A machine that nobody has configured is looked at as it is: `fake` counts where somebody has given it slots. */
function driverOf({ compute, fake }: Config): 'fake' | 'libvirt' {
  const isDescribed = fake.sev_slots + fake.sev_es_slots + fake.sev_snp_slots > 0
  return compute.driver === 'fake' && isDescribed ? 'fake' : 'libvirt'
}

function simulated(config: Config, { model = [] }: DoctorCommandOptions): readonly FindingGroup[] {
  return diagnoseSimulated(fakeCapabilities(simulatedHost(config)), config.fake.memory_mb, doctorOptions(config, model))
}

async function real(config: Config, options: DoctorCommandOptions): Promise<readonly FindingGroup[]> {
  const wanted = doctorOptions(config, options.model ?? [])
  const libvirt = connectLibvirt(config, createLogger('doctor', options.debug ? 'debug' : 'silent'))
  try {
    const files = new LocalHostFiles(config.libvirt.host_root)
    const host = await examineHost(files, libvirt, wanted, AbortSignal.timeout(timeoutOf(options)))
    return [...diagnose(host, wanted), { group: 'configuration', findings: [driverFinding(config)] }]
  } finally {
    await libvirt.close()
  }
}

function driverFinding({ compute }: Config): Finding {
  const about = { check: 'compute_driver', title: 'compute.driver', value: compute.driver }
  if (compute.driver === 'libvirt') {
    return { ...about, verdict: 'pass', meaning: 'a worker of this configuration runs guests on this host', fix: null }
  }
  return {
    ...about,
    verdict: 'warn',
    meaning: 'a worker of this configuration simulates its host, and uses nothing of this machine',
    fix: 'set compute.driver = "libvirt" (SEVBUS_COMPUTE_DRIVER) for real guests',
  }
}
