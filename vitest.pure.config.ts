import { defineConfig } from 'vitest/config'

/** The pure core: what decides from values alone needs no server, and every branch of it is tested. */
export default defineConfig({
  test: {
    include: [
      'test/objects/**/*.test.ts',
      'test/billing/{disagreements,price,read-fact,usage-records}.test.ts',
      'test/scheduler/{choosing,filters,weighers}/**/*.test.ts',
      'test/scheduler/hosts/*.test.ts',
      'test/scheduler/audit/compare*.test.ts',
      'test/scheduler/{filter-hosts,host-state,weigh-hosts,scheduling-report}.test.ts',
      'test/compute/{doctor,libvirt}/**/*.test.ts',
      'test/compute/images/{image-format,qcow2-header}.test.ts',
      'test/compute/disks/disk-contents.test.ts',
      'test/compute/host-view.test.ts',
      'test/rpc/{envelope,failure,json,page,request}.test.ts',
      'test/errors.test.ts',
    ],
    // They share processes as in vitest.config.ts: to load the same modules anew takes longer than most tests.
    isolate: false,
    globalSetup: ['test/servers/pure-setup.ts'],
    reporters: ['default'],
    // As in vitest.config.ts: thousands of cases on a busy machine are no failure.
    testTimeout: 240_000,
    coverage: {
      provider: 'v8',
      include: [
        'src/objects/**',
        'src/billing/{disagreements,price,rate-card,read-fact,usage-records}.ts',
        'src/scheduler/{choosing,filters,weighers}/**',
        'src/scheduler/hosts/{change-log,claimed-state,host-table,host-use,liveness,place}.ts',
        'src/scheduler/audit/{compare*,finding,observation}.ts',
        'src/compute/libvirt/configurators/**',
        'src/compute/doctor/{check-*,diagnose,encryption-leaf,lack,requirements}.ts',
        'src/compute/libvirt/driver/{definition,firmware-status,guest-state,start-failure}.ts',
        'src/compute/images/{image-format,qcow2-header}.ts',
        'src/compute/disks/{config-drive-files,disk-contents}.ts',
        'src/compute/libvirt/rpc/{codec,domain-words,frame,guest-events,keepalive,procedures}.ts',
        'src/compute/libvirt/rpc/{remote-error,typed-param,uri,xdr-bytes}.ts',
        'src/rpc/{envelope,failure,json,request}.ts',
      ],
      reporter: ['text-summary'],
      // Property tests choose anew each time: a little room below what they usually reach.
      thresholds: { lines: 98, branches: 94 },
    },
  },
})
