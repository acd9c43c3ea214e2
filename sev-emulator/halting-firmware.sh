#!/bin/sh
# Writes firmware into a folder for guests that need not do anything:
#
#   halting.fd             flash whose processor says so on the first serial port and halts, with the table that QEMU looks
#                          for in the flash of SEV-ES guests
#   halting-vars.fd        its variables: none
#   descriptors/           a folder of firmware descriptors with this one alone, as /usr/share/qemu/firmware
#
# A guest with it costs no processor time, and runs where OVMF does not: software KVM, as in some virtual machines, cannot
# run all of OVMF's instructions.
set -eu
LC_ALL=C
mkdir -p "$1/descriptors"
cd "$1"

size=$((256 * 1024))
says='sevbus test firmware: halted\r\n'

ones() { head -c "$1" /dev/zero | tr '\000' '\377'; } # as flash is where nothing was written to it
bytes() {
  for byte in "$@"; do
    value=$((0x$byte))
    printf "\\$((value / 64))$((value / 8 % 8))$((value % 8))"
  done
}

# 16-bit code: mov dx, 0x3f8; for each character mov al, it; out dx, al; then cli; hlt; jmp to the hlt.
code() {
  bytes ba f8 03
  # shellcheck disable=SC2059 # the text has escapes
  for character in $(printf "$says" | od -An -v -tx1); do bytes b0 "$character" ee; done
  bytes fa f4 eb fd
}

# OVMF's table of what hypervisors look for, 32 bytes below the end. It is read backwards: each entry is data, the length
# of data, length and GUID, and the GUID, whose first three parts are little-endian.
# Source: edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm; QEMU, hw/i386/pc_sysfw_ovmf.c and target/i386/sev.c.
table() {
  # 7255371f-3a3b-4b04-927b-1da6efa8d454, hashes of a kernel: base and size, in the guest's memory.
  bytes 00 d0 80 00 00 04 00 00 1a 00 1f 37 55 72 3b 3a 04 4b 92 7b 1d a6 ef a8 d4 54
  # 4c2eb361-7d9b-4cc3-8081-127c90d3d294, the launch secret: base and size.
  bytes 00 c0 80 00 00 0c 00 00 1a 00 61 b3 2e 4c 9b 7d c3 4c 80 81 12 7c 90 d3 d2 94
  # 00f771de-1a7e-4fcb-890e-68c77e2fb44e: where the other processors of an SEV-ES guest start, which is where the first does.
  bytes f0 ff ff ff 16 00 de 71 f7 00 7e 1a cb 4f 89 0e 68 c7 7e 2f b4 4e
  # 96b582de-1fb2-45f7-baea-a366c55a082d, the footer: length of the table.
  bytes 5c 00 de 82 b5 96 b2 1f f7 45 ba ea a3 66 c5 5a 08 2d
}
table_size=$((26 + 26 + 22 + 18))

# The image ends at 4 GiB, and x86 processors start 16 bytes below, in the segment of its last 64 KiB.
code_at=$((size - 4096))
jump=$((0x10000 + code_at - (size - 16 + 3)))
code > code.part
{
  ones $code_at
  cat code.part
  ones $((size - 32 - table_size - code_at - $(wc -c < code.part)))
  table
  ones 16
  bytes e9 "$(printf %02x $((jump % 256)))" "$(printf %02x $((jump / 256)))" # jmp to the code
  ones 13
} > halting.fd
rm code.part
ones $((128 * 1024)) > halting-vars.fd
chmod 644 halting.fd halting-vars.fd # QEMU runs as a user of its own

cat > descriptors/10-halting.json <<JSON
{
  "description": "halts: for tests",
  "interface-types": ["uefi"],
  "mapping": {
    "device": "flash",
    "mode": "split",
    "executable": { "filename": "$PWD/halting.fd", "format": "raw" },
    "nvram-template": { "filename": "$PWD/halting-vars.fd", "format": "raw" }
  },
  "targets": [{ "architecture": "x86_64", "machines": ["pc-q35-*", "pc-i440fx-*"] }],
  "features": ["amd-sev", "amd-sev-es", "verbose-dynamic"],
  "tags": []
}
JSON
