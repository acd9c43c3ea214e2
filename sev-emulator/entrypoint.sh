#!/bin/sh
# Starts the emulated SEV host in its container: libvirtd on TCP port 16509, without authentication. A test tool.
set -eu
[ -c /dev/kvm ] || { echo 'no /dev/kvm: start the container with --privileged or --device /dev/kvm' >&2; exit 2; }

mkdir -p /run/fake-sev /run/libvirt
cat > /run/fake-sev/conf <<CONF
name=${HOST_NAME:-$(hostname)}
cbitpos=$CBITPOS
max_asid=$MAX_ASID
min_sev_asid=$MIN_SEV_ASID
delay_ms=$DELAY_MS
fake_memlock=$FAKE_MEMLOCK
CONF
touch /run/fake-sev/asids /run/fake-sev/log
chmod 666 /run/fake-sev/asids /run/fake-sev/log
[ -e /dev/sev ] || mknod -m 666 /dev/sev c 1 3
chmod 666 /dev/kvm # its group may have another number here

cat > /etc/libvirt/libvirtd.conf <<CONF
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
CONF
cat > /etc/libvirt/qemu.conf <<CONF
security_driver = "none"
cgroup_controllers = []
CONF

# What a worker on this host would read of it.
root=/var/lib/sevbus-root
mkdir -p $root/sys/fs/cgroup $root/sys/module/kvm_amd/parameters $root/usr/share/qemu
echo Y > $root/sys/module/kvm_amd/parameters/sev
[ "$MIN_SEV_ASID" -gt 1 ] && es=Y || es=N
echo $es > $root/sys/module/kvm_amd/parameters/sev_es
echo N > $root/sys/module/kvm_amd/parameters/sev_snp
cp -r /usr/share/qemu/firmware $root/usr/share/qemu/
/usr/local/lib/sevbus/asid-counter $root/sys/fs/cgroup &

virtlogd --daemon
exec env LD_PRELOAD=/usr/local/lib/sevbus/libfakesev.so libvirtd --listen
