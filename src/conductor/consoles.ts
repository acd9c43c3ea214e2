import { InstanceInvalidState } from '../errors.ts'
import type { Endpoint } from '../rpc/contract.ts'
import type { consoleMethods } from './console-methods.ts'
import { findInstance } from './instance-store.ts'
import type { ConductorPorts } from './ports.ts'
import type { ConductorApi } from './rpc-api.ts'

/** Passes questions about consoles on to the hosts that have the guests. */
export function consolesEndpoint(
  ports: ConductorPorts,
): Pick<Endpoint<typeof ConductorApi>, keyof typeof consoleMethods> {
  const { compute } = ports
  const host = async (uuid: string) => ({ server: await hostOf(ports, uuid) })
  return {
    async getConsoleOutput(args, { context, signal }) {
      return await compute.getConsoleOutput(context, args, { ...(await host(args.instance_uuid)), signal })
    },
    async getVncConsole(args, { context, signal }) {
      return await compute.getVncConsole(context, args, { ...(await host(args.instance_uuid)), signal })
    },
    async getSpiceConsole(args, { context, signal }) {
      return await compute.getSpiceConsole(context, args, { ...(await host(args.instance_uuid)), signal })
    },
    async getSerialConsole(args, { context, signal }) {
      return await compute.getSerialConsole(context, args, { ...(await host(args.instance_uuid)), signal })
    },
  }
}

/** @throws InstanceNotFound, InstanceInvalidState */
async function hostOf({ database }: ConductorPorts, uuid: string): Promise<string> {
  const { host, vm_state } = (await findInstance(database, uuid)).instance
  if (host !== null) return host
  throw new InstanceInvalidState(`instance ${uuid} is ${vm_state} and on no host: it has no console`, {
    instance_uuid: uuid,
    vm_state,
    fix: `see what became of it with: sevbus explain ${uuid}`,
  })
}
