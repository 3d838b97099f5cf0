#!/bin/sh
# Runs an image on a peer without a display and prints its serial output.
#
#   ./run_peer.sh qemu|bochs IMAGE [COMMAND LINE WORDS...]
#
# Environment: SMP (processors, default 1), MEM (MiB, default 256), CPU (the peer's CPU model), LIMIT (seconds, default 120),
# QEMU_ARGS (more arguments for QEMU), KEEP (with bochs: a folder to work in, and to keep).
# The exit status is 0 if the output has a RESULT line and every failed test is listed in peers.toml, or (for an image without tests) if the peer ended
# by itself; else 1.
#
# Debian packages: qemu-system-x86; bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peer=$1 image=$2
shift 2
words=$*
smp=${SMP:-1} mem=${MEM:-256} limit=${LIMIT:-120}
# Tests that do not come back on this peer.
hanging=$(awk -v peer="$peer" '/^test = /{t=$3} /^peer = /{p=$3} /^hangs = true/{if (p == "\"" peer "\"") print t}' "$here/peers.toml" | tr -d '"' | sort -u | paste -sd, -)
[ -z "$hanging" ] || words="$words without=$hanging"
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT

case $peer in
qemu)
    status=0
    # shellcheck disable=SC2086
    timeout "$limit" qemu-system-x86_64 -machine q35 -accel tcg,thread=single -icount shift=0,sleep=off -cpu "${CPU:-max,vendor=GenuineIntel}" -m "$mem" -smp "$smp" \
        -kernel "$image" -append "$words" -nodefaults -rtc clock=vm -display none -serial stdio -no-reboot \
        -device isa-debug-exit,iobase=0xf4,iosize=4 ${QEMU_ARGS:-} </dev/null >"$work/output" 2>"$work/errors" || status=$?
    ;;
bochs)
    mkdir -p "$work/iso/boot/grub"
    cp "$image" "$work/iso/boot/image"
    printf 'set timeout=0\nmultiboot /boot/image %s\nboot\n' "image $words" >"$work/iso/boot/grub/grub.cfg"
    grub-mkrescue -d /usr/lib/grub/i386-pc -o "$work/image.iso" "$work/iso" >/dev/null 2>&1
    cat >"$work/bochsrc" <<EOF
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=${CPU:-corei7_skylake_x}, count=$smp, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=0
memory: guest=$mem, host=$mem
clock: sync=none, time0=local
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/image.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/output
log: $work/log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
EOF
    # Debian's build has the debugger in it, which waits for a command at reset.
    printf 'c\n' >"$work/debugger"
    status=0
    # The term display needs a terminal of its own.
    TERM=xterm timeout "$limit" script -qec "bochs -q -f $work/bochsrc -rc $work/debugger" /dev/null \
        </dev/null >"$work/screen" 2>&1 || status=$?
    ;;
*)
    echo "unknown peer $peer" >&2
    exit 2
    ;;
esac
tr -d '\r' <"$work/output"
if grep -q '^RESULT' "$work/output"; then
    # Only differences from the manual that peers.toml does not know count.
    awk -v peer="$peer" '/^test = /{t=$3} /^peer = /{if ($3 == "\"" peer "\"") print t}' "$here/peers.toml" | tr -d '"' | sort -u >"$work/known"
    sed -n 's/^FAIL \([^:]*\):.*/\1/p' "$work/output" | sort -u >"$work/failed"
    sed -n 's/^ok \(.*\)/\1/p' "$work/output" | tr -d '\r' | sort -u >"$work/passed"
    comm -12 "$work/known" "$work/passed" | sed 's/^/peers.toml lists a difference that is not there: /'
    comm -13 "$work/known" "$work/failed" | sed 's/^/UNKNOWN DIFFERENCE: /' >"$work/unknown"
    cat "$work/unknown"
    [ ! -s "$work/unknown" ]
elif grep -q '^ok \|^FAIL \|^skip ' "$work/output"; then
    echo "no RESULT line: the peer's status is $status" && exit 1
else
    [ "$status" = 124 ] && echo "peer did not end in $limit s" && exit 1
    [ "$status" -le 1 ] || { echo "peer's status $status"; exit 1; }
fi
