import { HostCapabilityMissing } from '../../../errors.ts'
import { MEM_ENCRYPTION_MODELS } from '../../../objects/mem-encryption.ts'
import type { Configurator } from './configurator.ts'

/** `<launchSecurity>` for the model. Source: libvirt's "Domain XML format", section "Launch Security". */
export const launchSecurity: Configurator = (domain, { encryption }, host) => {
  if (encryption === undefined) return domain
  const { model, launchSecurityType: type } = MEM_ENCRYPTION_MODELS[encryption.model]
  if (!host.slots[model]) {
    const reason = host.missing[model] ?? 'it reports no slots'
    throw new HostCapabilityMissing(`this host offers no ${model}: ${reason}`, { model, reason })
  }
  const { cbitpos, reducedPhysBits } = host
  return { ...domain, launchSecurity: { type, policy: encryption.policy, cbitpos, reducedPhysBits } }
}
