import type { HostReport, ProviderReport } from '../../src/objects/host-report.ts'

type Lie = (report: HostReport) => HostReport

/** Changes the inventory of the host's own CPUs. */
const ofVcpus =
  (changes: Partial<ProviderReport['inventories'][string]>): Lie =>
  (report) => ({
    ...report,
    providers: report.providers.map((provider) => {
      const { VCPU } = provider.inventories
      return VCPU ? { ...provider, inventories: { ...provider.inventories, VCPU: { ...VCPU, ...changes } } } : provider
    }),
  })

/** Reports that cannot be true, each beside something that could be: none of it may be taken. */
export const LIES: readonly (readonly [string, Lie])[] = [
  ['more is reserved than there is', ofVcpus({ total: 3, reserved: 4 })],
  ['a negative number', ofVcpus({ total: -5 })],
  ['no number', ofVcpus({ total: Number.NaN })],
  ['units that nothing fits', ofVcpus({ total: 7, min_unit: 9, max_unit: 7 })],
  ['a ratio of nothing', ofVcpus({ total: 7, allocation_ratio: 0 })],
  ['a provider twice', (report) => ({ ...report, providers: [...report.providers, ...report.providers] })],
  [
    "another host's provider",
    (report) => ({
      ...report,
      providers: [
        ...report.providers,
        { name: report.host === 'sev' ? 'snp' : 'sev', parent_name: report.host, inventories: {}, traits: [] },
      ],
    }),
  ],
]
