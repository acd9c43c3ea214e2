import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { environmentKeys, loadConfig, workerName } from '../../src/config.ts'
import { InvalidConfiguration } from '../../src/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'sevbus-config-'))

function file(text: string): string {
  const path = join(folder, `${Math.trunc(performance.now() * 1000)}.toml`)
  writeFileSync(path, text)
  return path
}

function problems(text: string, env: NodeJS.ProcessEnv = {}): readonly string[] {
  try {
    loadConfig({ file: file(text), env })
  } catch (error) {
    if (error instanceof InvalidConfiguration) return error.details.problems as readonly string[]
    throw error
  }
  return []
}

describe('configuration', () => {
  it('is complete without any file', () => {
    const config = loadConfig({ env: {} })

    expect(config.transport).toEqual({
      url: 'amqp://guest:guest@127.0.0.1:5672/',
      send_user_id: true,
      allowed_senders: [],
      exchange: 'sevbus',
      topic_prefix: 'sevbus-',
      heartbeat_seconds: 60,
      rpc_timeout_seconds: 60,
      concurrency: 32,
    })
    expect(config.notifications).toEqual({
      exchange: 'nova',
      topic: 'versioned_notifications',
      notify_on_state_change: 'never',
      select_destinations: false,
      instance_usage_audit_period: 'month',
      keep_hours: 168,
    })
  })

  it('takes the file, and the environment over it', () => {
    const path = file('[compute]\nhost = "node1"\nmax_concurrent_builds = 4\n[fake]\nsev_slots = 7\n')
    const env = { SEVBUS_FAKE_SEV_SLOTS: '15', SEVBUS_SCHEDULER_EXTRA_FILTERS: 'a.js, b.js' }

    const { compute, fake, scheduler } = loadConfig({ file: path, env })

    expect([compute.host, compute.max_concurrent_builds, fake.sev_slots]).toEqual(['node1', 4, 15])
    expect(scheduler.extra_filters).toEqual(['a.js', 'b.js'])
    expect(compute.state_folder).toBe(join('.sevbus', 'compute', 'node1'))
  })

  it('names every wrong key at once, what is wrong, and the key that was meant', () => {
    const text = `
      [transport]
      topolgy = "quorum"
      [compute]
      host = "no spaces"
      driver = "vmware"
      [fake]
      sev_slots = -1
      [flavors."m1.sev"]
      name = "m1.sev"
      flavorid = "1"
      vcpus = 0
      memory_mb = 2048
      root_gb = 10`

    expect(problems(text, { SEVBUS_FAKE_SLOTS: '3', SEVBUS_WORKER_SHUTDOWN_GRACE_SECONDS: 'soon' })).toEqual([
      'SEVBUS_FAKE_SLOTS: there is no such setting; unset it, or see docs/configuration.md',
      'transport.topolgy: there is no such key; did you mean topology?',
      'worker.shutdown_grace_seconds: Invalid input: expected number, received string (it is "soon")',
      'compute.host: letters, digits, dot, dash and underscore only (it is "no spaces")',
      'compute.driver: Invalid option: expected one of "fake"|"libvirt" (it is "vmware")',
      'fake.sev_slots: Too small: expected number to be >=0 (it is -1)',
      'flavors.m1.sev.vcpus: Too small: expected number to be >=1 (it is 0)',
    ])
  })

  it('takes numbers, lists and truth values from the environment as oslo.config writes them', () => {
    const env = {
      SEVBUS_TRANSPORT_URL: 'amqps://broker',
      SEVBUS_TRANSPORT_VERIFY_HOSTNAME: 'No',
      SEVBUS_TRANSPORT_SEND_USER_ID: '1',
      SEVBUS_TRANSPORT_CONCURRENCY: '7',
    }

    expect(loadConfig({ env }).transport).toMatchObject({
      verify_hostname: false,
      send_user_id: true,
      concurrency: 7,
    })
    expect(problems('', { SEVBUS_TRANSPORT_VERIFY_HOSTNAME: 'perhaps' })).toEqual([
      'transport.verify_hostname: Invalid input: expected boolean, received string (it is "perhaps")',
    ])
  })

  it('finds what the URL of the broker and the keys beside it say differently', () => {
    const url = 'rabbit://u:s3cret@broker/?rabbit_quorum_queue=0'

    expect(problems('', { SEVBUS_TRANSPORT_URL: url, SEVBUS_TRANSPORT_TOPOLOGY: 'quorum' })).toEqual([
      'transport: transport.topology is quorum, and the URL of the broker says rabbit_quorum_queue=0; leave one of the two out',
    ])
    expect(problems('[transport]\nca_file = "/ca.pem"')).toEqual([
      expect.stringContaining('there are files for TLS, and the URL of the broker does not ask for TLS'),
    ])
  })

  it('asks of nobody to say who he is when we do not', () => {
    const senders = '[transport]\nallowed_senders = ["api"]\n'

    expect(problems(`${senders}send_user_id = false`)).toEqual([
      expect.stringContaining('transport: allowed_senders is set, and our own messages do not say whose they are'),
    ])
    expect(problems(senders)).toEqual([])
  })

  it('tells a mistake in the URL once, with those of other keys', () => {
    expect(problems('[transport]\nurl = "http://s3cret"\nconcurrency = 0')).toEqual([
      expect.stringContaining(
        'transport.url: the URL of the broker is wrong: it must begin with amqp, amqps or rabbit',
      ),
      'transport.concurrency: Too small: expected number to be >=1 (it is 0)',
    ])
  })

  it('reads secrets from files too, and only secrets', () => {
    const secret = file('amqp://user:s3cret@broker/\n')

    expect(loadConfig({ env: { SEVBUS_TRANSPORT_URL_FILE: secret } }).transport.url).toBe('amqp://user:s3cret@broker/')
    expect(problems('', { SEVBUS_COMPUTE_HOST_FILE: secret })).toEqual([
      'SEVBUS_COMPUTE_HOST_FILE: there is no such setting; unset it, or see docs/configuration.md',
    ])
    expect(problems('', { SEVBUS_DATABASE_URL_FILE: '/nowhere' })).toEqual([
      'SEVBUS_DATABASE_URL_FILE: the file it names cannot be read (ENOENT); write the name of a file that holds the value',
    ])
  })

  it('never repeats a URL, which may hold a password', () => {
    expect(problems('[database]\nurl = 5')).toEqual(['database.url: Invalid input: expected string, received number'])
  })

  it.each([
    { text: '[transport]\nurl = amqp://u:s3cret@broker/' },
    { text: '[transport]\nurl = "amqp://u:s3cret@broker/' },
    { text: '[transport]\nurl = "amqp://u:s3cret@broker/"\ntopology = \n' },
    { text: 'transport = "amqp://u:s3cret@broker/"' },
    { text: 'transport = ["amqp://u:s3cret@broker/"]' },
    { text: 'transport = "amqp://u:s3cret@broker/"', env: { SEVBUS_TRANSPORT_TOPOLOGY: 'quorum' } },
    { text: 'database = "postgresql://u:s3cret@db/x"' },
    { text: '[database]\nurl = ["postgresql://u:s3cret@db/x"]' },
    { text: '[database.url]\nurl = "postgresql://u:s3cret@db/x"' },
    { text: '[database]\nurls = "postgresql://u:s3cret@db/x"' },
    { text: 'compute = "amqp://u:s3cret@broker/"' },
    { text: '[compute]\nhost = "amqp://u:s3cret@broker/"' },
    { text: '', env: { SEVBUS_COMPUTE_DRIVER: 'amqp://u:s3cret@broker/' } },
    { text: '', env: { SEVBUS_DATABASE_URL_FILE: 'postgresql://u:s3cret@db/x' } },
    { text: '', env: { SEVBUS_DATABASE_URL_FILE: 's3cret' } },
    { text: '', env: { SEVBUS_TRANSPORT: 'amqp://u:s3cret@broker/' } },
    { text: '', host: 'amqp://u:s3cret@broker/' },
  ])('tells no secret of a mistake: %j', ({ text, env = {}, host }) => {
    try {
      loadConfig({ file: file(text), env: env as NodeJS.ProcessEnv, host })
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidConfiguration)
      const { message, details } = error as InvalidConfiguration
      expect(message + JSON.stringify(details)).not.toContain('s3cret')
      return
    }
    expect.unreachable()
  })

  it('says where a file stops being TOML', () => {
    const path = file('[compute]\nhost = node1\n')

    expect(() => loadConfig({ file: path, env: {} })).toThrow(`${path}, line 2, column `)
  })

  it("takes the host's name from the command line, and its state folder with it", () => {
    const { compute } = loadConfig({ env: {}, host: 'node7' })

    expect([compute.host, compute.state_folder]).toEqual(['node7', join('.sevbus', 'compute', 'node7')])
    const problem = '--host: letters, digits, dot, dash and underscore only (it is "no spaces")'
    expect(() => loadConfig({ env: {}, host: 'no spaces' })).toThrow(problem)
  })

  it('refuses a name of the machine that cannot be a queue, and says how to give another', () => {
    expect(workerName('node1.example-4711')).toBe('node1.example-4711')
    expect(() => workerName('Dave’s laptop')).toThrow('letters, digits')
    expect(() => workerName('n'.repeat(201))).toThrow(InvalidConfiguration)
  })

  it('says which file cannot be read, and what it is not', () => {
    expect(() => loadConfig({ file: '/nowhere/sevbus.toml', env: {} })).toThrow('/nowhere/sevbus.toml cannot be read')
    expect(() => loadConfig({ file: file('[transport\n'), env: {} })).toThrow('cannot be read')
  })

  it('has each of its keys in docs/configuration.md, and the page no others', () => {
    const page = readFileSync('docs/configuration.md', 'utf8')
    const documented = [...page.matchAll(/^\| `([a-z_.]+)` \| `(SEVBUS_[A-Z_]+)` \|/gm)].map(([, key, variable]) => [
      key,
      variable,
    ])

    expect(documented).toEqual(environmentKeys().map(({ section, name, variable }) => [`${section}.${name}`, variable]))
  })
})
