import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config.ts'
import { POSTGRES_IMAGE, RABBITMQ_IMAGE } from '../../src/servers/images.ts'

const ROOT = join(import.meta.dirname, '../..')
const compose = readFileSync(join(ROOT, 'compose.yaml'), 'utf8')

/** Each `SEVBUS_X: value` of the file; of a variable set several times, the last. */
const variables = Object.fromEntries(
  [...compose.matchAll(/^ +(SEVBUS_\w+): (.*)$/gm)].map(([, name, value]) => [name, value]),
)

describe('compose.yaml', () => {
  it('runs the servers that the tests run in containers', () => {
    const images = [...compose.matchAll(/^ +image: ((?:rabbitmq|postgres):.*)$/gm)].map(([, image]) => image)

    expect(images).toEqual([RABBITMQ_IMAGE, POSTGRES_IMAGE])
  })

  it('has commands that are words, each of them', () => {
    const Words = z.array(z.string())
    const Service = z.object({ command: Words.optional(), healthcheck: z.object({ test: Words }).optional() })
    const { services } = z.object({ services: z.record(z.string(), Service) }).parse(parse(compose, { merge: true }))

    const checked = Object.entries(services).filter(([, { healthcheck }]) => healthcheck !== undefined)
    expect(checked.map(([name]) => name)).toEqual(Object.keys(services).filter((name) => name !== 'migrate'))
  })

  it('sets only variables that the workers know, and a file that they accept', () => {
    const config = loadConfig({ env: { ...variables, SEVBUS_CONFIG: join(ROOT, 'compose.toml') } })

    expect(Object.keys(variables)).toHaveLength(10)
    expect(config.compute).toMatchObject({ host: 'host-3', driver: 'fake', state_folder: '/var/lib/sevbus' })
    expect(Object.keys(config.flavors)).toEqual(['m1.small', 'm1.sev', 'm1.sev-es', 'm1.sev-snp'])
  })
})
