import { rescueImage } from '../../objects/rescue-image.ts'
import { snapshotImage } from '../../objects/snapshot-image.ts'
import type { Endpoint } from '../../rpc/contract.ts'
import type { actionMethods } from '../action-methods.ts'
import { findInstance } from '../instance-store.ts'
import type { ConductorPorts } from '../ports.ts'
import type { ConductorApi } from '../rpc-api.ts'
import { shelveInstance } from '../shelve/shelve-instance.ts'
import { unshelveInstance } from '../shelve/unshelve.ts'
import { storedContext } from '../stored-context.ts'
import { acceptAction } from './accept-action.ts'
import { recordActionReport, recordActionStage } from './action-report.ts'
import { attachInterface, attachVolume } from './attach.ts'
import { isActionWanted } from './check-action.ts'
import { correctInstances } from './correct-instances.ts'

/** Answers what is asked to be done to instances that live. */
export function actionsEndpoint(
  ports: ConductorPorts,
): Pick<Endpoint<typeof ConductorApi>, keyof typeof actionMethods> {
  return {
    async startInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'start' }) }
    },
    async stopInstance({ instance_uuid, clean_shutdown }, { context }) {
      const action = { name: 'stop', clean_shutdown } as const
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, action) }
    },
    async rebootInstance({ instance_uuid, reboot_type }, { context }) {
      const action = { name: 'reboot', reboot_type } as const
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, action) }
    },
    async pauseInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'pause' }) }
    },
    async unpauseInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'unpause' }) }
    },
    async suspendInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'suspend' }) }
    },
    async resumeInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'resume' }) }
    },
    async checkAction(asked) {
      return { wanted: await isActionWanted(ports, asked) }
    },
    async reportGuestStates(report, { context }) {
      await correctInstances(ports, storedContext(context), report)
      return null
    },
    async attachVolume({ instance_uuid, ...volume }, { context }) {
      return { instance: await attachVolume(ports, storedContext(context), instance_uuid, volume) }
    },
    async detachVolume({ instance_uuid, volume_id }, { context }) {
      const action = { name: 'detach_volume', volume_id: volume_id.toLowerCase() } as const
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, action) }
    },
    async attachInterface({ instance_uuid, ...asked }, { context }) {
      return { instance: await attachInterface(ports, storedContext(context), instance_uuid, asked) }
    },
    async detachInterface({ instance_uuid, mac }, { context }) {
      const action = { name: 'detach_interface', mac: mac.toLowerCase() } as const
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, action) }
    },
    async createSnapshot({ instance_uuid, image_id, name }, { context }) {
      const { instance: now } = await findInstance(ports.database, instance_uuid)
      const image = snapshotImage(now, { id: image_id.toLowerCase(), name })
      const instance = await acceptAction(ports, storedContext(context), instance_uuid, { name: 'snapshot', image })
      return { instance, image }
    },
    async rescueInstance({ instance_uuid, image }, { context }) {
      const { instance: now } = await findInstance(ports.database, instance_uuid)
      const action = { name: 'rescue', image: rescueImage(now, image ?? now.image) } as const
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, action) }
    },
    async unrescueInstance({ instance_uuid }, { context }) {
      return { instance: await acceptAction(ports, storedContext(context), instance_uuid, { name: 'unrescue' }) }
    },
    async shelveInstance({ instance_uuid, clean_shutdown }, { context }) {
      return { instance: await shelveInstance(ports, storedContext(context), instance_uuid, clean_shutdown) }
    },
    async unshelveInstance(asked, { context, signal }) {
      return { instance: await unshelveInstance(ports, storedContext(context), asked, signal) }
    },
    async reportActionStage(report) {
      await recordActionStage(ports, report)
      return null
    },
    async reportAction(report) {
      await recordActionReport(ports, report)
      return null
    },
  }
}
