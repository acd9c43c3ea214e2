import { FLAGS, Libvirt } from '../../dist/compute/libvirt/rpc/libvirt.js'

/** What a boot is beside: our libvirt client alone, which knows the document already, defines and starts. */
export class BareClient {
  readonly #libvirt: Libvirt

  constructor(uri: string) {
    this.#libvirt = new Libvirt({ uri, onTrouble: ({ message }) => console.error(message) })
  }

  async boot(uuid: string, xml: string): Promise<void> {
    await this.#libvirt.domainDefineXmlFlags(xml)
    await this.#libvirt.domainCreateWithFlags(uuid)
  }

  async remove(uuid: string): Promise<void> {
    await this.#libvirt.domainDestroyFlags(uuid)
    await this.#libvirt.domainUndefineFlags(uuid, FLAGS.undefineNvram)
  }

  close(): Promise<void> {
    return this.#libvirt.close()
  }
}
