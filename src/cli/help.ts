/** What `--help` teaches beside the options: things to type. */
export const EXAMPLES = {
  sevbus: `
Try it:
  sevbus demo                                       everything in one process, in seconds
  sevbus dev                                        a small cloud on this machine; then, elsewhere:
  sevbus boot web --flavor m1.sev --image linux-uefi --count 3
  sevbus hosts
  sevbus events

Run it:
  sevbus db migrate && sevbus conductor             each in a process, as many as you like
  sevbus scheduler
  sevbus compute --host node1`,
  demo: `
Examples:
  sevbus demo                 live, on a terminal
  sevbus demo | cat           plain lines
  sevbus demo --json          one JSON document with the same facts (npm run --silent demo -- --json)`,
  dev: `
Examples:
  sevbus dev
  sevbus dev --amqp-url amqp://guest:guest@localhost:5672/
Then, in another terminal in the same folder:
  sevbus boot web --flavor m1.sev --image linux-uefi`,
  conductor: `
Examples:
  SEVBUS_TRANSPORT_URL=amqp://… SEVBUS_DATABASE_URL=postgresql://… sevbus conductor
  sevbus conductor --config /etc/sevbus.toml`,
  scheduler: `
Examples:
  sevbus scheduler --config /etc/sevbus.toml --host scheduler-1`,
  compute: `
Examples:
  sevbus compute --host node1 --config /etc/sevbus.toml
  SEVBUS_COMPUTE_DRIVER=fake SEVBUS_FAKE_SEV_SLOTS=15 sevbus compute --host sim-1   a simulated host`,
  boot: `
Examples:
  sevbus boot db --flavor m1.sev-snp --image linux-stateless
  sevbus boot web --flavor m1.sev --image linux-uefi --count 20 --no-wait
  sevbus boot ring --flavor m1.sev --image linux-uefi --count 3 --all-or-nothing
  sevbus boot one --flavor flavor.json --image image.json --json
  sevbus boot db --flavor m1.sev --image linux-uefi --availability-zone room-2 --hint different_host=web-1`,
  list: `
Examples:
  sevbus list --state error
  sevbus list --host node1 --json`,
  show: `
Examples:
  sevbus show web-1
  sevbus show web-1 --xml     launchSecurity, q35, locked memory … as the host runs it`,
  delete: `
Examples:
  sevbus delete web-1 web-2
All are looked up first: one that is not there, or a name that several have, and nothing is done to any.`,
  start: `
Examples:
  sevbus start web-1 --wait`,
  stop: `
Examples:
  sevbus stop web-1 web-2
  sevbus stop web-1 --wait
  sevbus stop web-1 --hard    at once: what its guest has not written is lost
A stopped instance keeps its disks, its memory and its encryption slot on its host, and is charged for them.`,
  reboot: `
Examples:
  sevbus reboot web-1 --wait
  sevbus reboot web-1 --hard  whatever hangs; also the way out of ERROR while its host still has the guest
Each is a new start, and proves the encryption again.`,
  pause: `
Examples:
  sevbus pause web-1          it keeps its memory and its encryption key`,
  unpause: `
Examples:
  sevbus unpause web-1`,
  suspend: `
Examples:
  sevbus suspend web-1        not of encrypted instances: nobody can save their memory`,
  resume: `
Examples:
  sevbus resume web-1`,
  'attach-volume': `
Examples:
  sevbus attach-volume web-1 /srv/volumes/data.raw --wait
  sevbus attach-volume web-1 /dev/vg-guests/data --bus virtio
Its host must give the folder away (compute.volume_folders there). What is in it is taken as a bare disk.`,
  'detach-volume': `
Examples:
  sevbus detach-volume web-1 /srv/volumes/data.raw --wait
  sevbus detach-volume web-1 a07f71dc-8151-4e7d-a0cc-cd24a3f11113`,
  'attach-interface': `
Examples:
  sevbus attach-interface web-1 --wait
  sevbus attach-interface web-1 --bridge br-storage --address 10.1.0.7
Its host must give the bridge or network away (compute.attachable_bridges, attachable_networks there).`,
  rescue: `
Examples:
  sevbus rescue web-1 --image rescue-system --wait
  sevbus rescue web-1                   from the image it was booted from
Encrypted as before, or refused. Its own disk is the second one.`,
  unrescue: `
Example:
  sevbus unrescue web-1 --wait`,
  shelve: `
Examples:
  sevbus shelve web-1 --wait            off, its disk an image, on no host: no slot, no bill
  sevbus shelve web-1 web-2 --hard
Its host needs a folder for images (compute.image_folder), which other hosts should see, too: there it is looked for again.`,
  unshelve: `
Examples:
  sevbus unshelve web-1 --wait          on any host with room: encrypted as it was, or better
  sevbus unshelve web-1 --availability-zone room-2
  sevbus unshelve web-1 --host node2    there, or nowhere; it has to be in the zone that the instance is for
  sevbus explain web-1                  why it is still shelved`,
  snapshot: `
Examples:
  sevbus snapshot web-1 web-1-before-upgrade --wait
  sevbus explain web-1                  the id of the image, and its size
Its host writes ID.qcow2 and ID.json into compute.image_folder; boot --image takes the latter.`,
  'console-log': `
Examples:
  sevbus console-log web-1
  sevbus console-log web-1 --lines 20`,
  console: `
Examples:
  sevbus console web-1                  where its VNC display is
  sevbus console web-1 --type spice
  sevbus console web-1 --type serial    its serial port by TCP, raw
Its host gives displays (compute.graphics there) and serial ports (compute.serial_console_port_range) to guests, or none.`,
  'detach-interface': `
Example:
  sevbus detach-interface web-1 fa:16:3e:00:00:05`,
  evacuate: `
Examples:
  sevbus evacuate web-1 --wait
  sevbus evacuate web-1 --host node2
It is built anew from its image; what was on the disk of the dead host is lost. What it had there stays claimed until that
host is back and has removed the guest, or until you have seen to it that its power is off:
  sevbus host set node1 --fenced`,
  resize: `
Examples:
  sevbus resize web-1 --flavor m1.sev --wait
  sevbus resize web-1 --flavor larger.json --host node2
Its guest goes off once a host has a place for it, and starts there on copies of its disks, with the new flavor: it may gain,
lose or change its encryption. What it has on both hosts stays its own until you say:
  sevbus resize-confirm web-1
  sevbus resize-revert web-1`,
  migrate: `
Examples:
  sevbus migrate web-1 --wait
  sevbus migrate web-1 --host node2
As a resize, with the flavor that it has: encrypted instances, too, for they are started anew. Then: resize-confirm, or
resize-revert.`,
  'live-migrate': `
Examples:
  sevbus live-migrate web-1 --wait
  sevbus live-migrate web-1 --host node2
Its guest goes on running; hosts must see the same disks, for those are not copied. Of instances in clear alone: what is
encrypted cannot be read to be sent, and QEMU refuses it; migrate moves them, off and on.`,
  'live-migration-abort': `
Examples:
  sevbus live-migration-abort web-1 --wait
Its guest goes on where it runs. One that has just left cannot be called back: bring it back with live-migrate.`,
  'live-migration-force-complete': `
Examples:
  sevbus live-migration-force-complete web-1 --wait
For a guest that writes faster than its memory is sent: it stands still until it is there, or goes on there before all of its
memory is (compute.live_migration_permit_post_copy, which loses the guest if either host fails meanwhile).`,
  'resize-confirm': `
Examples:
  sevbus resize-confirm web-1 --wait`,
  'resize-revert': `
Examples:
  sevbus resize-revert web-1 --wait      its disks are as they were when it left: what was written since is lost`,
  rebuild: `
Examples:
  sevbus rebuild web-1 --image ubuntu-sev --wait
  sevbus rebuild web-1 --image plain.json --lose-encryption
Its root disk is made anew from the image, with the same uuid, host and addresses; volumes and interfaces stay, and one that was
stopped stays off. Image and flavor are judged as at a boot: it may gain an encryption where its host has a slot. What its host
cannot do changes nothing; what fails later leaves it in error with its claim, to be rebuilt again.`,
  hosts: `
Examples:
  sevbus hosts                used/usable per pool of encryption slots
  sevbus hosts --json`,
  host: `
Examples:
  sevbus host show node1
  sevbus host set node1 --disable --reason 'new memory'
  sevbus host set node1 --enable
  sevbus host set node1 --forced-down         it counts as down, whatever it reports; its instances can be evacuated
  sevbus host set node1 --fenced              its power is off: nothing runs there, so what they had there is free
  sevbus host set node1 --no-forced-down      it is back
A disabled host keeps its instances and takes no new ones. Schedulers go by it within a second or so.`,
  aggregate: `
Examples:
  sevbus aggregate create room-1 --metadata availability_zone=room-1 --host node1 --host node2
  sevbus aggregate set gold --metadata filter_tenant_id=blue,green       for these projects only
  sevbus aggregate set gold --unset filter_tenant_id
  sevbus aggregate set fast --metadata ssd=true      for flavors with aggregate_instance_extra_specs:ssd=true
  sevbus aggregate add-host fast node3 node4
  sevbus aggregate remove-host fast node4
  sevbus aggregate list
Keys that the scheduler reads: availability_zone, filter_tenant_id…, max_io_ops_per_host, max_instances_per_host; names
of image properties (os_type=windows); and whatever flavors ask for. docs/operators.md has all of them.`,
  group: `
Examples:
  sevbus group create db --policy anti-affinity
  sevbus boot db --flavor m1.sev --image linux-uefi --count 3 --hint group=db      on three hosts, or ERROR
  sevbus group create cache --policy anti-affinity --max-server-per-host 2
  sevbus group show db
  sevbus group delete db
Instances are members from their request on. The database holds them to affinity and anti-affinity, however many are
asked for at once; soft policies only count when hosts are weighed.`,
  explain: `
Examples:
  sevbus explain web-31       every try, host by host, with numbers`,
  audit: `
Examples:
  sevbus audit                what does not agree, and what would mend it: changes nothing
  sevbus audit --repair       mends what is safe, and looks again
  sevbus audit --host node1 --host node2
  sevbus audit --json | jq '.findings[] | select(.repair == null)'
It compares what is claimed, what the conductors know, what the hosts' hypervisors have and the keys that their kernels
count:
  double            an instance runs on two hosts
  ghost             a guest of ours runs where its instance is not any more
  wrong encryption  a guest runs otherwise encrypted than was asked for
  missing claim     an instance runs on resources that are not claimed
  leak              resources are claimed that no guest uses
  missing guest     an instance should run on a host that has no such guest
  key count         the kernel counts other keys in use than guests could hold, or has fewer than are offered
  foreign guest     a guest that is not ours: it is named, and never touched
  overcommit        more is claimed than the host has
  miscount          the use of an inventory is not the sum of its claims
What is being built, moved or deleted is not judged, nor is a host that does not answer.
Exit codes: 0 all agrees, 6 findings remain, 3 none remain but somebody did not answer.`,
  events: `
Examples:
  sevbus events               takes nothing away from billing
  sevbus events --json        one notification a line`,
  broker: `
Examples:
  sevbus broker policies                          rabbitmqctl commands, to be looked at
  sevbus broker policies | sh                     on a machine of the broker
  sevbus broker policies --json                   as the management API takes them
A queue that is full refuses what comes: it waits in the outbox, the log says so, and it goes out when there is room.`,
  bill: `
Examples:
  sevbus bill run                                     follows the notifications: a worker of its own, like the others
  sevbus bill show --month 2026-11 --rates rates.yaml
  sevbus bill show --from 2026-11-01 --to 2026-11-08 --project blue
  sevbus bill export --month 2026-11 --rates rates.yaml > november.csv
  sevbus bill export --format json | jq 'select(.model == "amd-sev-snp")'
  sevbus bill check                                   what the ledger and instance.exists do not agree about
  sevbus bill import archive.ndjson                   notifications out of a file; what is known stays as it is
A rate card, rates.yaml; whatever is not in it has no price, and is named:
  currency: EUR
  default: { per_vcpu_hour: 0.02, per_gib_hour: 0.005 }
  flavors:
    m1.sev: { per_hour: 0.12 }          instead of the default
  encryption:                           on top, by model
    amd-sev: { percent: 10 }
    amd-sev-es: { percent: 12.5 }
    amd-sev-snp: { per_vcpu_hour: 0.01 }
  stopped: { percent: 50 }              while an instance is stopped; 100 without it
A shelved instance is on no host, and costs nothing.
The ledger has a database of its own: bill.database_url, or an embedded one in bill.folder, which one process at a time can
open; show, export and check need one that is there. Exit code 6: something has no price, could not be read, or does not agree.`,
  lint: `
Examples:
  sevbus lint --flavor flavor.json --image image.json         exit code 5 when a boot would be refused
  sevbus host-capabilities > host.json
  sevbus --config compose.toml lint --flavor m1.sev --image linux-uefi --host host.json --json
Names are of the catalogue: sections [flavors] and [images] of the configuration, as a clone's compose.toml has them.
It tells all that is wrong with flavor and image at once. A host is judged as if nothing ran on it, with the reserved
memory and the ratios of the configuration.`,
  xml: `
Examples:
  sevbus xml --flavor flavor.json --image image.json > guest.xml && virt-xml-validate guest.xml domain
  sevbus --config compose.toml xml --flavor m1.sev --image linux-uefi --host host.json --mac 52:54:00:12:34:56
Without --host the domain is for a host that has every model, q35 by default, and the C-bit at 51.`,
  'host-capabilities': `
Examples:
  sevbus host-capabilities > host.json
  SEVBUS_FAKE_SEV_SLOTS=15 SEVBUS_FAKE_DEFAULT_MACHINE_TYPE=pc sevbus host-capabilities --host epyc-1
  SEVBUS_COMPUTE_DRIVER=libvirt sevbus host-capabilities      asks the libvirt of this machine, and its kernel`,
  doctor: `
Examples:
  sudo sevbus doctor --config /etc/sevbus.toml           this machine; root may read all of it
  sevbus doctor --model amd-sev-snp                      a host that must have SEV-SNP
  sevbus doctor --json | jq '.findings[] | select(.verdict == "fail") | {title, value, fix}'
  SEVBUS_FAKE_SEV_SLOTS=500 sevbus doctor                a simulated host: slots, and memory for them
Each finding says what was found, what that means, and what to do:
  pass  as encrypted guests need it
  warn  they may run, and somebody should look; also what cannot be read, which is no pass
  FAIL  they do not run here, or not safely
  skip  there is nothing to judge, and why
What fails first makes others fail: mend from the top. A model that is missing is a warning where a flavor of the
configuration asks for it, a failure with --model, else it is no matter. Memory is judged with the flavors, the reserve
and the overhead of the configuration.
It asks the kernel's files (below libvirt.host_root) and libvirt (libvirt.uri), needs no broker and no database, and
changes nothing.
Exit codes: 0 nothing failed, 1 something did, 2 wrong words or configuration.`,
  'dead-letters': `
Examples:
  sevbus dead-letters list
  sevbus dead-letters show 3f0c…              the message, without tokens
  sevbus dead-letters replay 3f0c…            when what was wrong is mended
  sevbus dead-letters replay --all --code DATABASE_UNAVAILABLE
  sevbus dead-letters purge 3f0c… --yes
A letter is sent again before it is removed, with its ids: what was done meanwhile is not done twice. It is said to be of
the broker's user that you log in as: where allowed_senders is set, take one that is among them.`,
  db: `
Examples:
  SEVBUS_DATABASE_URL=postgresql://sevbus@localhost/sevbus sevbus db migrate`,
} as const

export const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  tried and failed; doctor: something fails on the host
  2  wrong words, file or configuration: nothing was tried
  3  no broker, database or worker answered
  4  no such instance, host, aggregate, group, guest, ledger or dead letter; nothing was done to other instances named with it
  5  the cloud said no, or would (lint, xml): a contradiction in the request, or no host for it
  6  findings remain (audit, bill)
  130  interrupted before it was done`
