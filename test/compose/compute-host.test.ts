import { describe, expect, it } from 'vitest'
import { diskOptions, domainOptions } from '../../src/compose/host-options.ts'
import { loadConfig } from '../../src/config.ts'

const configured = (env: Record<string, string>) => loadConfig({ env, host: 'h1' }).compute
const GIB = 1024 ** 3

describe("what the configuration says about a host's disks and network", () => {
  it('is one folder for the guests, and no image store, unless it is named', () => {
    expect(diskOptions(configured({}))).toEqual({
      instancesPath: '/var/lib/sevbus/instances',
      imageFolder: undefined,
      imageUrl: undefined,
      imageMaxBytes: 100 * GIB,
      imageTimeoutMs: 540_000,
      cacheMaxAgeMs: 86_400_000,
      cacheMaxBytes: Number.POSITIVE_INFINITY,
    })
    const env = {
      SEVBUS_COMPUTE_INSTANCES_PATH: '/srv/guests',
      SEVBUS_COMPUTE_IMAGE_FOLDER: '/srv/images',
      SEVBUS_COMPUTE_IMAGE_URL: 'https://images.example.com/{id}',
      SEVBUS_COMPUTE_IMAGE_MAX_GB: '0.5',
      SEVBUS_COMPUTE_IMAGE_TIMEOUT_SECONDS: '60',
      SEVBUS_COMPUTE_IMAGE_CACHE_MAX_GB: '20',
      SEVBUS_COMPUTE_IMAGE_CACHE_MAX_AGE_SECONDS: '0',
    }
    expect(diskOptions(configured(env))).toEqual({
      instancesPath: '/srv/guests',
      imageFolder: '/srv/images',
      imageUrl: 'https://images.example.com/{id}',
      imageMaxBytes: 0.5 * GIB,
      imageTimeoutMs: 60_000,
      cacheMaxAgeMs: 0,
      cacheMaxBytes: 20 * GIB,
    })
    expect(domainOptions(configured(env)).instancesPath).toBe('/srv/guests')
  })

  it.each([
    [{}, { kind: 'network', network: 'default' }],
    [{ SEVBUS_COMPUTE_NETWORK: 'lab' }, { kind: 'network', network: 'lab' }],
    [{ SEVBUS_COMPUTE_NETWORK: 'none' }, { kind: 'none' }],
    [{ SEVBUS_COMPUTE_BRIDGE: 'br0' }, { kind: 'bridge', bridge: 'br0' }],
  ])('is one network for all guests: %o', (env, network) => {
    expect(domainOptions(configured(env as Record<string, string>)).network).toEqual(network)
  })

  it.each([
    [{ SEVBUS_COMPUTE_NETWORK: 'lab', SEVBUS_COMPUTE_BRIDGE: 'br0' }, 'compute.bridge'],
    [{ SEVBUS_COMPUTE_BRIDGE: 'a-name-of-16-chars' }, 'compute.bridge'],
    [{ SEVBUS_COMPUTE_BRIDGE: 'br0/../x' }, 'compute.bridge'],
    [{ SEVBUS_COMPUTE_NETWORK: '<x/>' }, 'compute.network'],
    [{ SEVBUS_COMPUTE_INSTANCES_PATH: 'instances' }, 'compute.instances_path'],
    [{ SEVBUS_COMPUTE_IMAGE_URL: 'https://images.example.com/' }, 'compute.image_url'],
    [{ SEVBUS_COMPUTE_IMAGE_URL: 'https://user:secret@images.example.com/{id}' }, 'compute.image_url'],
    [{ SEVBUS_COMPUTE_IMAGE_URL: 'file:///etc/{id}' }, 'compute.image_url'],
    [{ SEVBUS_COMPUTE_IMAGE_URL: '{id}' }, 'compute.image_url'],
  ])('is refused by name when it makes no sense: %o', (env, key) => {
    let problems = ''
    try {
      configured(env as Record<string, string>)
    } catch (error) {
      problems = String((error as Error).message)
    }

    expect(problems).toContain(key)
    expect(problems).not.toContain('secret')
  })
})
