import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { isOn } from '../libvirt/kernel-parameters.ts'
import { checkVersion } from './check-versions.ts'
import type { Examination } from './examination.ts'
import { type Check, type Finding, fail, pass, skip, warn } from './finding.ts'
import { lackOf } from './lack.ts'
import { readValue, unknown } from './reading.ts'

const RELEASE = { check: 'kernel', title: 'kernel' }
const MODULE = { check: 'kvm_amd', title: 'module kvm_amd' }
const IOMMU = { check: 'iommu', title: 'IOMMU' }
const OF_PARAMETER = (name: string): Check => ({ check: `kvm_amd_${name}`, title: `kvm_amd ${name}` })

export function checkKernel({ host, options }: Examination): Finding {
  const { release } = host.kernel
  if (release.state !== 'read') return unknown(RELEASE, release, 'mount /proc, and check libvirt.host_root')
  return checkVersion(RELEASE, 'kernel', release.value, options)
}

export function checkModule({ host }: Examination): Finding {
  const { kvmAmd } = host.kernel
  if (kvmAmd.state === 'read') return pass(MODULE, 'loaded', 'KVM for AMD')
  if (kvmAmd.state === 'unreadable') return unknown(MODULE, kvmAmd, 'mount /sys, and check libvirt.host_root')
  const isAmd = readValue(host.processor)?.vendor === 'AuthenticAMD'
  const fix = isAmd
    ? 'enable SVM in the BIOS, then: modprobe kvm_amd sev=1 sev_es=1'
    : 'nothing to load: this needs an AMD processor'
  return fail(MODULE, 'not loaded', 'without it no guest runs with SEV', fix)
}

export function checkParameters({ host, options }: Examination): readonly Finding[] {
  const { kvmAmd, parameters } = host.kernel
  const names = ['sev', 'sev_es', 'sev_snp'] as const
  if (kvmAmd.state === 'absent') {
    return names.map((name) => skip(OF_PARAMETER(name), 'not there', 'the module is not loaded'))
  }
  const isSnpOn = isOn(readValue(parameters.sev_snp))
  return names.map((name) => {
    const check = OF_PARAMETER(name)
    const parameter = parameters[name]
    if (parameter.state === 'unreadable') return unknown(check, parameter, 'mount /sys, and check libvirt.host_root')
    const value = readValue(parameter) ?? 'not there: the kernel does not know it'
    if (isOn(readValue(parameter))) return pass(check, value, ON[name])
    const lack = { value, meaning: OFF[name], fix: FIX[name] }
    if (name === 'sev') return fail(check, value, lack.meaning, lack.fix)
    if (name === 'sev_es' && isSnpOn) return skip(check, value, 'SEV-SNP is on, and a host runs one of the two')
    return lackOf(MODEL[name], check, options, lack)
  })
}

const MODEL: Readonly<Record<'sev_es' | 'sev_snp', MemEncryptionModel>> = {
  sev_es: 'amd-sev-es',
  sev_snp: 'amd-sev-snp',
}
const ON = {
  sev: 'guests may have SEV',
  sev_es: 'guests may have SEV-ES, unless SEV-SNP is on (CVE-2025-48514)',
  sev_snp: 'guests may have SEV-SNP, and none SEV-ES',
}
const OFF = {
  sev: 'off: the BIOS has it off, or the module was loaded without it',
  sev_es: 'off: the BIOS sets no keys aside, or the module was loaded without it',
  sev_snp: 'off: not enabled in BIOS, firmware or IOMMU, or the module was loaded without it',
}
const persist = (options: string) =>
  `echo "options kvm_amd ${options}" > /etc/modprobe.d/kvm_amd.conf, then load it anew or reboot; dmesg | grep -i sev says why not`
const FIX = {
  sev: persist('sev=1'),
  sev_es: persist('sev=1 sev_es=1'),
  sev_snp: `BIOS: SNP and RMP coverage on; ${persist('sev=1 sev_es=1 sev_snp=1')}`,
}

/** Words on the kernel's command line that leave devices outside the IOMMU's tables, which SEV-SNP needs. */
const AGAINST_SNP = ['iommu=pt', 'iommu.passthrough=1', 'iommu=off', 'amd_iommu=off', 'amd_iommu=pt']

/** Source: Linux, drivers/iommu/amd/init.c, iommu_snp_enable */
export function checkIommu({ host, options }: Examination): Finding {
  const { commandLine } = host.kernel
  if (commandLine.state !== 'read') return unknown(IOMMU, commandLine, 'mount /proc, and check libvirt.host_root')
  const against = commandLine.value.split(/\s+/).filter((word) => AGAINST_SNP.includes(word))
  if (against.length === 0)
    return pass(IOMMU, 'nothing against SEV-SNP on the command line', 'SEV and SEV-ES need none')
  const lack = {
    value: against.join(' '),
    meaning: 'the kernel gives up SEV-SNP where devices bypass the IOMMU',
    fix: `remove ${against.join(' and ')} from the kernel's command line, and reboot`,
  }
  const isOnAnyway = isOn(readValue(host.kernel.parameters.sev_snp))
  return isOnAnyway
    ? warn(IOMMU, lack.value, `${lack.meaning}, yet it is on: the kernel knows another way`, lack.fix)
    : lackOf('amd-sev-snp', IOMMU, options, lack)
}
