import type { Endpoint } from '../rpc/contract.ts'
import type { ComputeApi } from './rpc-api.ts'

/** An endpoint that asks before each request whether this worker may take it up: `confirm` throws when not. */
export function confirmedEndpoint(
  endpoint: Endpoint<typeof ComputeApi>,
  confirm: () => Promise<void>,
): Endpoint<typeof ComputeApi> {
  const first =
    <A, I, R>(method: (args: A, info: I) => Promise<R>) =>
    async (args: A, info: I): Promise<R> => {
      await confirm()
      return await method(args, info)
    }
  return {
    buildAndRunInstance: first((args, info) => endpoint.buildAndRunInstance(args, info)),
    buildAndRunInstances: first((args, info) => endpoint.buildAndRunInstances(args, info)),
    prepResize: first((args, info) => endpoint.prepResize(args, info)),
    resizeInstance: first((args, info) => endpoint.resizeInstance(args, info)),
    finishResize: first((args, info) => endpoint.finishResize(args, info)),
    finishRevertResize: first((args, info) => endpoint.finishRevertResize(args, info)),
    rebuildInstance: first((args, info) => endpoint.rebuildInstance(args, info)),
    checkCanLiveMigrateSource: first((args, info) => endpoint.checkCanLiveMigrateSource(args, info)),
    checkCanLiveMigrateDestination: first((args, info) => endpoint.checkCanLiveMigrateDestination(args, info)),
    preLiveMigration: first((args, info) => endpoint.preLiveMigration(args, info)),
    liveMigration: first((args, info) => endpoint.liveMigration(args, info)),
    liveMigrationAbort: first((args, info) => endpoint.liveMigrationAbort(args, info)),
    liveMigrationForceComplete: first((args, info) => endpoint.liveMigrationForceComplete(args, info)),
    rollbackLiveMigration: first((args, info) => endpoint.rollbackLiveMigration(args, info)),
    postLiveMigrationAtDestination: first((args, info) => endpoint.postLiveMigrationAtDestination(args, info)),
    rollbackLiveMigrationAtDestination: first((args, info) => endpoint.rollbackLiveMigrationAtDestination(args, info)),
    terminateInstance: first((args, info) => endpoint.terminateInstance(args, info)),
    startInstance: first((args, info) => endpoint.startInstance(args, info)),
    stopInstance: first((args, info) => endpoint.stopInstance(args, info)),
    rebootInstance: first((args, info) => endpoint.rebootInstance(args, info)),
    pauseInstance: first((args, info) => endpoint.pauseInstance(args, info)),
    unpauseInstance: first((args, info) => endpoint.unpauseInstance(args, info)),
    suspendInstance: first((args, info) => endpoint.suspendInstance(args, info)),
    resumeInstance: first((args, info) => endpoint.resumeInstance(args, info)),
    attachVolume: first((args, info) => endpoint.attachVolume(args, info)),
    detachVolume: first((args, info) => endpoint.detachVolume(args, info)),
    attachInterface: first((args, info) => endpoint.attachInterface(args, info)),
    detachInterface: first((args, info) => endpoint.detachInterface(args, info)),
    snapshotInstance: first((args, info) => endpoint.snapshotInstance(args, info)),
    rescueInstance: first((args, info) => endpoint.rescueInstance(args, info)),
    unrescueInstance: first((args, info) => endpoint.unrescueInstance(args, info)),
    shelveInstance: first((args, info) => endpoint.shelveInstance(args, info)),
    removeShelvedImage: first((args, info) => endpoint.removeShelvedImage(args, info)),
    getConsoleOutput: first((args, info) => endpoint.getConsoleOutput(args, info)),
    getVncConsole: first((args, info) => endpoint.getVncConsole(args, info)),
    getSpiceConsole: first((args, info) => endpoint.getSpiceConsole(args, info)),
    getSerialConsole: first((args, info) => endpoint.getSerialConsole(args, info)),
    getDomainXml: first((args, info) => endpoint.getDomainXml(args, info)),
    removeStrayDisks: first((args, info) => endpoint.removeStrayDisks(args, info)),
    listGuests: first((args, info) => endpoint.listGuests(args, info)),
  }
}
