#!/bin/sh
# Builds the emulator into a folder: libfakesev.so, to be preloaded, and asid-counter.
set -eu
here=$(dirname "$0") out=$1
cc=${CC:-gcc}
flags="-std=gnu11 -O2 -Wall -Wextra -Werror -fvisibility=hidden"
cd "$here"
$cc $flags -fPIC -shared -o "$out/libfakesev.so" fake-sev.c platform.c guest.c regions.c processor.c conf.c asids.c sha256.c -ldl
$cc $flags -o "$out/asid-counter" asid-counter.c conf.c asids.c
