#!/bin/sh
# Makes a private machine inside its namespaces, then stays as its first process (private-machine.ts).
#
#   private-machine.sh FOLDER NAME SEV DESCRIPTORS     SEV is yes or no; DESCRIPTORS a folder in FOLDER, or empty
set -eu
folder=$1 name=$2 sev=$3 descriptors=$4
hostname "$name"
ip link set lo up

# Nodes that guests, QEMU and libvirt use; /dev/sev is its own. In a user namespace nobody makes nodes: they are bound.
mount -t tmpfs -o mode=755,size=4m tmpfs "$folder/dev"
for device in null zero full random urandom tty ptmx kvm net/tun vhost-net; do
  [ -c "/dev/$device" ] || continue
  copy="$folder/dev/$device"
  mkdir -p "$(dirname "$copy")"
  major=$((0x$(stat -L -c %t "/dev/$device"))) minor=$((0x$(stat -L -c %T "/dev/$device")))
  mknod -m 666 "$copy" c $major $minor 2>/dev/null || { : > "$copy"; mount --bind "/dev/$device" "$copy"; }
done
mkdir "$folder/dev/pts" "$folder/dev/shm"
mount --rbind /dev/pts "$folder/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$folder/dev/shm"
ln -s /proc/self/fd "$folder/dev/fd"
if [ "$sev" = yes ]; then
  mknod -m 666 "$folder/dev/sev" c 1 3 2>/dev/null || { : > "$folder/dev/sev"; mount --bind /dev/null "$folder/dev/sev"; }
fi

# libvirt moves every mount that it reads of below /dev, hidden ones too, which cannot be moved; and it would make control
# groups, which would outlive the machine.
# Again, until none goes any more: one may hide another at the same place.
before=
while mounts=$(cut -d ' ' -f 2 /proc/self/mounts | grep -E '^/(dev|sys)/') && [ "$mounts" != "$before" ]; do
  before=$mounts
  for point in $mounts; do umount --lazy "$point" 2>/dev/null || true; done
done
mount --rbind "$folder/dev" /dev
mount -t sysfs sysfs /sys # with the devices of its own network

mount --bind "$folder/run" /run
mount --bind "$folder/etc" /etc/libvirt
mount --bind "$folder/lib" /var/lib/libvirt
mount --bind "$folder/cache" /var/cache/libvirt
mount --bind "$folder/log" /var/log/libvirt
[ -z "$descriptors" ] || mount --bind "$folder/$descriptors" /usr/share/qemu/firmware

: > "$folder/ready"
# Reaps orphans: libvirt takes a process that nobody reaps for alive.
exec tini -- sleep infinity
