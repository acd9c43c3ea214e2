import { describe, expect, it } from 'vitest'
import type { PrivateServer } from '../../src/servers/private-server.ts'
import {
  type ExtraKind,
  findServers,
  type Installable,
  type Machine,
  type ServerKind,
  ServersMissing,
} from './find-servers.ts'

/** A machine where each way has the servers named; it keeps a diary of what it was asked for. */
function aMachine(has: {
  given?: readonly ServerKind[]
  docker?: readonly ServerKind[]
  installed?: readonly ServerKind[]
  installable?: readonly Installable[]
  /** What else the tests want is there already, unless it is said not to be. */
  lacks?: readonly ExtraKind[]
  refusesInstallation?: boolean
}) {
  const diary: string[] = []
  const installed = new Set<Installable>(has.installed)
  const way = (name: string, kinds: () => Iterable<Installable>) => async (kind: ServerKind) => {
    diary.push(`${name} ${kind}`)
    return [...kinds()].includes(kind) ? aServer(`${name} ${kind}`, diary) : undefined
  }
  const install = async (kinds: readonly Installable[]) => {
    diary.push(`install ${kinds.join('+')}`)
    const unknown = kinds.find((kind) => !has.installable?.includes(kind))
    if (unknown !== undefined) throw new Error(`no package for ${unknown}`)
    for (const kind of kinds) installed.add(kind)
  }
  const machine: Machine = {
    given: way('given', () => has.given ?? []),
    docker: way('docker', () => has.docker ?? []),
    installed: way('installed', () => installed),
    missingExtras: async () => has.lacks ?? [],
    install: has.refusesInstallation ? undefined : install,
  }
  return { machine, diary }
}

function aServer(url: string, diary: string[]): PrivateServer {
  return { url, description: url, close: async () => void diary.push(`close ${url}`) }
}

const both = ['rabbitmq', 'postgres'] as const

describe('the servers of a test run', () => {
  it.each([
    ['named by the environment', { given: both, docker: both, installed: both }, 'given'],
    ['from a Docker engine when none is named', { docker: both, installed: both }, 'docker'],
    ['from the programs when no engine gives them', { installed: both, installable: both }, 'installed'],
  ])('are %s', async (_name, has, way) => {
    const { machine, diary } = aMachine(has)

    const { rabbitmq, postgres } = await findServers(machine)

    expect([rabbitmq.url, postgres.url]).toEqual([`${way} rabbitmq`, `${way} postgres`])
    expect(diary.filter((line) => line.startsWith('install '))).toEqual([])
  })

  it('are found separately, each by its own first way', async () => {
    const { machine } = aMachine({ given: ['postgres'], docker: ['rabbitmq'] })

    const { rabbitmq, postgres } = await findServers(machine)

    expect([rabbitmq.url, postgres.url]).toEqual(['docker rabbitmq', 'given postgres'])
  })

  it('are installed once, together, and only what is missing', async () => {
    const nothing = aMachine({ installable: both })
    const noBroker = aMachine({ installed: ['postgres'], installable: both })

    await findServers(nothing.machine)
    await findServers(noBroker.machine)

    expect(nothing.diary.filter((line) => line.startsWith('install '))).toEqual(['install rabbitmq+postgres'])
    expect(noBroker.diary.filter((line) => line.startsWith('install '))).toEqual(['install rabbitmq'])
  })

  it('are installed together with the extras that are missing, which come alone when only they are', async () => {
    const nothing = aMachine({ lacks: ['oslo', 'libvirt'], installable: [...both, 'oslo', 'libvirt'] })
    const onlyOslo = aMachine({ lacks: ['oslo'], given: both, installable: ['oslo'] })

    await findServers(nothing.machine)
    await findServers(onlyOslo.machine)

    expect(nothing.diary.filter((line) => line.startsWith('install '))).toEqual([
      'install rabbitmq+postgres+oslo+libvirt',
    ])
    expect(onlyOslo.diary.filter((line) => line.startsWith('install '))).toEqual(['install oslo'])
  })

  it('are there also where the distribution lacks one of the extras, and so are the others of them', async () => {
    const { machine, diary } = aMachine({ lacks: ['oslo', 'libvirt'], installable: [...both, 'libvirt'] })

    const { rabbitmq } = await findServers(machine)

    expect(rabbitmq.url).toBe('installed rabbitmq')
    expect(diary.filter((line) => line.startsWith('install '))).toEqual([
      'install rabbitmq+postgres+oslo+libvirt',
      'install rabbitmq+postgres',
      'install oslo',
      'install libvirt',
    ])
  })

  it('end the run with a message that says what to install, when there is no way', async () => {
    const { machine } = aMachine({ refusesInstallation: true })

    const found = findServers(machine)

    await expect(found).rejects.toThrow(ServersMissing)
    await expect(found).rejects.toThrow('apt-get install rabbitmq-server postgresql')
    await expect(found).rejects.toThrow('SEVBUS_TEST_AMQP_URL')
  })

  it('do not stay when only one could be had', async () => {
    const { machine, diary } = aMachine({ docker: ['postgres'], refusesInstallation: true })

    await expect(findServers(machine)).rejects.toThrow('SEVBUS_TEST_AMQP_URL')

    expect(diary.at(-1)).toBe('close docker postgres')
  })

  it('are never replaced when the one that the environment names does not answer', async () => {
    const { machine, diary } = aMachine({ installed: both })
    const given = async (kind: ServerKind) => {
      if (kind === 'rabbitmq') throw new Error('SEVBUS_TEST_AMQP_URL does not answer')
      return undefined
    }

    await expect(findServers({ ...machine, given })).rejects.toThrow('SEVBUS_TEST_AMQP_URL does not answer')

    expect(diary).not.toContain('installed rabbitmq')
    expect(diary.at(-1)).toBe('close installed postgres')
  })
})
