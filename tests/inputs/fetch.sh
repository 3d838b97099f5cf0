#!/usr/bin/env bash
# Fetches the real software that tests and examples boot, from Debian's packages, and builds the initramfs.
#
#   tests/inputs/fetch.sh [--update] [DIRECTORY]
#
# DIRECTORY (default: inputs/ at the repository's root, which git ignores; UNDERCROFT_INPUTS overrides) gets:
#
#   vmlinuz           Debian's cloud kernel (linux-image-cloud-amd64)
#   vmlinuz-generic   Debian's generic kernel (linux-image-amd64); can be a Xen dom0
#   xen               Debian's Xen hypervisor, gunzipped (multiboot)
#   initrd.cpio       busybox and tests/inputs/init; that file says which modes there are
#   disk.img          an empty ext4 file system of 512 MiB, raw and sparse; use a copy where a test writes
#   manifest.txt      package versions, and the SHA-256 of every file
#
# Needs a Debian host with apt sources, but no root. When everything is there it does nothing; --update looks for
# newer packages. Packages are kept in DIRECTORY/packages.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
update=no
if [ "${1:-}" = --update ]; then
	update=yes
	shift
fi
out=${1:-${UNDERCROFT_INPUTS:-$here/../../inputs}}
modules_wanted="virtio_pci virtio_blk crc32c_generic ext4"
files="vmlinuz vmlinuz-generic xen initrd.cpio disk.img"

fail() {
	echo "fetch.sh: $*" >&2
	exit 1
}

recipe=$(cat "$here/fetch.sh" "$here/init" | sha256sum | cut -d' ' -f1)
complete() {
	local f
	grep -qsx "recipe $recipe" "$out/manifest.txt" || return 1
	for f in $files; do [ -s "$out/$f" ] || return 1; done
}
if [ $update = no ] && complete; then
	exit 0
fi

# mke2fs lives in a folder that is not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin
absent=
for pair in apt-get:apt apt-cache:apt dpkg-deb:dpkg tar:tar cpio:cpio gzip:gzip xz:xz-utils mke2fs:e2fsprogs; do
	command -v "${pair%%:*}" >/dev/null || absent="$absent ${pair##*:}"
done
[ -z "$absent" ] || fail "this needs a Debian host with these packages, which are absent:$absent (as root: apt-get install$absent)"

mkdir -p "$out/packages"
out=$(cd "$out" && pwd)
exec 9>"$out/packages/.lock"
if command -v flock >/dev/null; then
	flock 9
	# Another run may have finished while this one waited.
	if [ $update = no ] && complete; then exit 0; fi
fi
work=$out/packages/work
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

package_of() { # METAPACKAGE: the kernel's package it stands for today
	apt-cache depends "$1" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1
}
find_packages() {
	cloud=$(package_of linux-image-cloud-amd64)
	generic=$(package_of linux-image-amd64)
	xen=$(apt-cache search --names-only '^xen-hypervisor-[0-9.]*-amd64$' 2>/dev/null | cut -d' ' -f1 | sort -V | tail -1)
	[ -n "$cloud" ] && [ -n "$generic" ] && [ -n "$xen" ]
}
# Lists that are old name packages which the archive no longer has: root refreshes them first.
if [ $update = yes ] || [ "$(id -u)" = 0 ] || ! find_packages; then
	[ "$(id -u)" = 0 ] || [ $update = no ] || fail "--update needs root, for apt-get update"
	if [ "$(id -u)" = 0 ]; then
		for attempt in 1 2 3 4 5 6; do
			apt-get update -qq >&2 && break
			sleep $((attempt * 2)) # another apt-get may hold the lists
		done
	fi
	find_packages || fail "apt does not know linux-image-cloud-amd64, linux-image-amd64 and a xen-hypervisor (run apt-get update as root, with Debian's main archive among the sources)"
fi

download() { # PACKAGE: leaves $out/packages/PACKAGE.deb
	if [ $update = no ] && dpkg-deb -f "$out/packages/$1.deb" Version >/dev/null 2>&1; then return; fi
	echo "fetching $1" >&2
	local log=$work/download.log
	mkdir -p "$work/$1.download"
	(cd "$work/$1.download" && apt-get download -q "$1" >"$log" 2>&1) || {
		cat "$log" >&2
		fail "apt-get download $1 failed (if the package lists are old, run apt-get update as root)"
	}
	mv "$work/$1.download/"*.deb "$out/packages/$1.deb"
}
unpack() { # PACKAGE PATTERN...: what of the package lies at the patterns goes to $work/PACKAGE
	local package=$1
	shift
	mkdir -p "$work/$package"
	dpkg-deb --fsys-tarfile "$out/packages/$package.deb" | tar -x -C "$work/$package" --wildcards "$@"
}
for package in "$cloud" "$generic" "$xen" busybox-static; do download "$package"; done
unpack "$cloud" './boot/vmlinuz-*' './lib/modules/*'
unpack "$generic" './boot/vmlinuz-*' './lib/modules/*'
unpack "$xen" './boot/xen-*'
unpack busybox-static './bin/busybox'

cp "$work/$cloud/boot/"vmlinuz-* "$work/vmlinuz"
cp "$work/$generic/boot/"vmlinuz-* "$work/vmlinuz-generic"
gzip -dc "$work/$xen/boot/"xen-*-amd64.gz >"$work/xen"

# The initramfs.
image=$work/image
mkdir -p "$image"/{bin,dev,proc,sys,tmp,mnt,modules}
cp "$work/busybox-static/bin/busybox" "$image/bin/busybox"
cp "$here/init" "$image/init"
chmod 755 "$image/init" "$image/bin/busybox"

add_module() { # PACKAGE NAME FOLDER: the module after all it depends on; nothing where the kernel has it built in
	local file dependency
	[ ! -e "$3/$2.ko" ] || return 0
	# A file may be spelt with - where the module's name has _.
	file=$(find "$work/$1/lib/modules" -regex ".*/${2//_/[-_]}\.ko\(\.xz\)?" | head -1)
	[ -n "$file" ] || return 0
	case $file in
	*.xz) xz -dc "$file" >"$work/module.ko" ;;
	*) cp "$file" "$work/module.ko" ;;
	esac
	# The .modinfo section is a run of zero-ended `key=value`.
	local dependencies
	dependencies=$(tr '\0' '\n' <"$work/module.ko" | sed -n 's/^depends=//p' | tr ',' ' ')
	cp "$work/module.ko" "$work/$2.pending"
	for dependency in $dependencies; do add_module "$1" "$dependency" "$3"; done
	mv "$work/$2.pending" "$3/$2.ko"
	echo "$2" >>"$3/order"
}
for package in "$cloud" "$generic"; do
	folder=$image/modules/${package#linux-image-}
	mkdir -p "$folder"
	: >"$folder/order"
	for module in $modules_wanted; do add_module "$package" "$module" "$folder"; done
done

# What mode=test and mode=disk must find, computed by the host's tools. The generators are those of init.
numbers() { (seq "$1" 2>/dev/null || true) | head -c "$2"; }
md5() { md5sum | cut -d' ' -f1; }
for mib in 1 8 64; do
	numbers 100000000 $((mib * 1048576)) >"$work/file"
	echo "md5sum$mib $(md5 <"$work/file")"
	echo "sha256sum$mib $(sha256sum <"$work/file" | cut -d' ' -f1)"
	echo "dd_swab$mib $(dd if="$work/file" bs=4096 conv=swab 2>/dev/null | md5)"
done >"$image/expected"
# A sum that rounds at every step and a recurrence that doubles every error: one wrong bit shows.
echo 'BEGIN { x = 0.3 } { s += 1 / $1; x = 3.7 * x * (1 - x) } END { printf "%.15g,%.15g", s, x }' >"$image/float.awk"
echo "awk_float $(head -n 100000 "$work/file" | awk -f "$image/float.awk")" >>"$image/expected"
echo "sort $(head -n 20000 "$work/file" | sort -r | md5)" >>"$image/expected"
numbers 10000000 4194304 >"$work/part"
for mib in 16 256; do
	echo "disk$mib $(for i in $(seq 0 $((mib / 4 - 1))); do
		echo "part $i"
		cat "$work/part"
	done | md5)"
done >>"$image/expected"

find "$image" -exec touch -h -d @0 {} +
(cd "$image" && find . -print0 | sort -z | cpio --quiet --reproducible -0 -o -H newc -R 0:0) >"$work/initrd.cpio"

# An empty file system, the same on every host with the same mke2fs.
truncate -s 512M "$work/disk.img"
E2FSPROGS_FAKE_TIME=1000000000 mke2fs -q -t ext4 -U 3c0f5f0e-7d5e-4c55-8a40-2f7f0a6d1c11 \
	-E hash_seed=9b1f1c52-20a5-4bd9-a3a3-64a3ed1c7a66,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -F "$work/disk.img"

{
	echo "recipe $recipe"
	for package in "$cloud" "$generic" "$xen" busybox-static; do
		echo "package $package $(dpkg-deb -f "$out/packages/$package.deb" Version)"
	done
	cd "$work"
	# shellcheck disable=SC2086
	sha256sum $files
} >"$work/manifest.txt"
rm -f "$out/manifest.txt"
for f in $files manifest.txt; do mv "$work/$f" "$out/$f"; done
cat "$out/manifest.txt"
