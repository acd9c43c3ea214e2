import { describe, expect, it } from 'vitest'
import { create } from 'xmlbuilder2'
import { xmlOf } from '../../../src/compute/libvirt/domain-xml.ts'
import { written } from '../../../src/compute/libvirt/xml-element.ts'

describe('a document', () => {
  const uuid = '5ef5ad06-52c4-4ba6-a5a3-8cbbd6f6a0ad'
  const documentOf = (name: string, id: string, mib: number) => ({
    domain: {
      '@type': 'kvm',
      // The text before the attribute: the library writes them the other way round.
      name: { '#': name, '@id': id },
      memory: { '@unit': 'MiB', '#': mib },
      devices: { disk: [{ '@file': `/disks/${id}` }, { '@file': name }], empty: {} },
    },
  })

  it('of a shape that was written before is what the library writes, whatever is in it', () => {
    // The last two have marks of our own in them.
    const values = ['vm-1', 'vm-2', '', ' ', 'a b', '<&">', '7', 'ä', '0', '\ue0000\ue000', 'x\ue0001\ue000y']

    const pairs = values.flatMap((name) =>
      values.map((id) => {
        const document = documentOf(name, id, id.length)
        const byLibrary = create(written(document) as object).end({ prettyPrint: true, headless: true })
        return { written: xmlOf(document, 'the document', uuid), byLibrary }
      }),
    )

    expect(pairs.map((pair) => pair.written)).toEqual(pairs.map(({ byLibrary }) => byLibrary))
  })

  it('that cannot be written is refused also when its shape was written before', () => {
    xmlOf(documentOf('vm-1', 'a', 1), 'the document', uuid)

    expect(() => xmlOf(documentOf('vm\u0000', 'a', 1), 'the document', uuid)).toThrow(/the document cannot be written/)
  })
})
