#!/bin/sh
# Builds the bare-metal images: demo.elf, suite.elf and ending.elf.
#
#   ./build.sh [IMAGE...]             default: all images
#
# Environment:
#   BARE_METAL_OUT      folder for the images          (default: target/images in this folder)
#   BARE_METAL_TARGET   cargo's target folder          (default: target in this folder)
#   BARE_METAL_PROFILE  release or dev                 (default: release)
#   CARGO               the cargo to use               (default: cargo)
#
# Needs only a stable toolchain with the x86_64-unknown-linux-gnu target: no C compiler, no network. May be called
# from a build script (the flags that an outer cargo exports are dropped, and the target folder is another one).
# Each image comes twice: NAME.elf, which multiboot and PVH loaders take, and NAME.pvh.elf, without the multiboot header, for
# loaders that would prefer that.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${BARE_METAL_OUT:-$here/target/images}
target=${BARE_METAL_TARGET:-$here/target}
profile=${BARE_METAL_PROFILE:-release}
images=${*:-demo suite ending}

unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS \
    CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER || true
mkdir -p "$out"
packages=
for image in $images; do packages="$packages -p $image"; done
# The configuration with the flags is found from the current folder.
cd "$here"
# shellcheck disable=SC2086
"${CARGO:-cargo}" build --offline --quiet --profile "$profile" --target-dir "$target" $packages
folder=$profile
[ "$profile" = dev ] && folder=debug
for image in $images; do
    built=$target/x86_64-unknown-linux-gnu/$folder/$image
    cp "$built" "$out/$image.elf"
    cp "$built" "$out/$image.pvh.elf"
    # The multiboot header is the first thing of the segment, at file offset 4096 (link.ld).
    dd if=/dev/zero of="$out/$image.pvh.elf" bs=1 seek=4096 count=4 conv=notrunc 2>/dev/null
done
