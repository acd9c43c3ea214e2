interface DocumentChanges {
  readonly machine?: string
  readonly firmware?: string
  readonly sev?: string
  readonly launchSecurity?: string
}

/** Children of `<sev supported='yes'>` on an EPYC host. */
export const EPYC_SEV = `<sev supported='yes'>
      <cbitpos>51</cbitpos>
      <reducedPhysBits>1</reducedPhysBits>
      <maxGuests>410</maxGuests>
      <maxESGuests>99</maxESGuests>
      <cpu0Id>AAAA</cpu0Id>
    </sev>`

export const WITH_SNP = `<launchSecurity supported='yes'>
      <enum name='sectype'>
        <value>sev</value>
        <value>sev-snp</value>
      </enum>
    </launchSecurity>`

/** A document in libvirt's form, with the parts before and between that nobody reads. */
export function capabilitiesXml(changes: DocumentChanges = {}): string {
  const { machine = 'pc-q35-9.2', firmware = '<value>efi</value>', sev = EPYC_SEV, launchSecurity = '' } = changes
  return `<domainCapabilities>
  <path>/usr/bin/qemu-system-x86_64</path>
  <domain>kvm</domain>
  <machine>${machine}</machine>
  <arch>x86_64</arch>
  <vcpu max='288'/>
  <os supported='yes'>
    <enum name='firmware'>${firmware}</enum>
    <loader supported='yes'>
      <value>/usr/share/OVMF/OVMF_CODE_4M.fd</value>
      <enum name='type'><value>rom</value><value>pflash</value></enum>
    </loader>
  </os>
  <features>
    <gic supported='no'/>
    <vmcoreinfo supported='yes'/>
    ${sev}
    <sgx supported='no'/>
    ${launchSecurity}
  </features>
</domainCapabilities>
`
}
