/** The text of a descriptor as distributions write it; the mode of its flash is left out, which means split. */
export function aDescriptor(features: readonly string[], changes: object = {}): string {
  return JSON.stringify({
    description: 'UEFI firmware',
    'interface-types': ['uefi'],
    mapping: { device: 'flash', executable: { filename: '/usr/share/OVMF/OVMF_CODE_4M.fd', format: 'raw' } },
    targets: [{ architecture: 'x86_64', machines: ['pc-i440fx-*', 'pc-q35-*'] }],
    features,
    tags: [],
    ...changes,
  })
}
