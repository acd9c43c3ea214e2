/**
 * A scheduler filter of your own, in a file of its own: keeps encrypted guests off hosts whose name says they are for
 * something else. Name it in the configuration:
 *
 *   [scheduler]
 *   extra_filters = ["./examples/03-filter.js"]
 *
 * @type {import('sevbus/scheduler').HostFilter}
 */
const noEncryptedGuestsOnScratchHosts = {
  name: 'NoEncryptedGuestsOnScratchHosts',
  fix: 'use a host that is not for scratch guests, or take the filter out of scheduler.extra_filters',
  /** Why not, in words an operator can act on; undefined when the host may take the guest. */
  reject(host, request) {
    if (request.spec.mem_encryption === null || !host.host.startsWith('scratch-')) return undefined
    return `${host.host} is for scratch guests, this one is encrypted`
  },
}

export default noEncryptedGuestsOnScratchHosts
