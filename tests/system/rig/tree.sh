#!/bin/bash
# Make the guest's root tree: tree.sh bookworm|trixie WHEELS. Debian with systemd, and what systemd/packages.txt lists for a Raspberry Pi.
# Prints the folder of the tree. Needs root: the tree has files of several owners, and programs run in it.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

suite=$1
wheels=$2

# What Raspberry Pi OS Lite has anyway, as far as the tests or `make install` need it; the rest is Pipit's own list, less what only
# Raspberry Pi OS has ("?").
present=systemd,systemd-sysv,dbus,udev,kmod,make,procps,util-linux,iproute2,python3,alsa-utils
needed() { sed -n "s/^$1  *\([^ ?]*\)\( .*\|\)$/\1/p" "$checkout/systemd/packages.txt"; }
include=$(echo $present $(needed run) $(needed demo) | tr ' ' ,)
result=$cache/tree-$suite-$( (cd "$checkout" && cat tests/system/rig/tree.sh; echo "$include") | sha256sum | cut -c1-12)
[ -d "$result" ] && { echo "$result"; exit; }

work=$result.part
rm -rf "$work"; mkdir -p "$work"/{upper,scratch,merged}
trap 'umount -q "$work/merged" || true; rm -rf "$work"' EXIT

started=$SECONDS
nice -n 10 mmdebstrap --quiet --mode=root --variant=minbase --include="$include" \
    --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$suite" "$work/tree" "deb $debian $suite main" "deb $security $suite-security main" >&2
say "Debian $suite: $((SECONDS - started)) s"

# python3-lgpio is a package of Raspberry Pi OS, but not of Debian. So it is made: compiled in a layer over the tree that is thrown away
# (PYPI=1: with its C library inside), and packed, so that the installer finds it as it would find it there.
started=$SECONDS
mount -t overlay overlay -o "lowerdir=$work/tree,upperdir=$work/upper,workdir=$work/scratch" "$work/merged"
tar --extract --gzip --file "$wheels"/source/lgpio-*.tar.gz -C "$work/merged/opt"
cp /etc/resolv.conf "$work/merged/etc/resolv.conf"
nice -n 10 chroot "$work/merged" sh -ec '
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends gcc libc6-dev swig python3-dev python3-pip python3-setuptools python3-wheel >/dev/null 2>&1
    cd /opt/lgpio-*
    PYPI=1 python3 -m pip install --quiet --quiet --no-index --no-deps --no-build-isolation --root-user-action=ignore --target /opt/built .' >&2
mkdir -p "$work"/package/{DEBIAN,usr/lib/python3/dist-packages}
cp -R "$work"/merged/opt/built/* "$work/package/usr/lib/python3/dist-packages/"
umount "$work/merged"
printf '%s\n' 'Package: python3-lgpio' 'Version: 0.2.2-0' 'Architecture: amd64' 'Depends: python3' 'Maintainer: rig <rig@localhost>' \
    'Description: lgpio, as Raspberry Pi OS has it' > "$work/package/DEBIAN/control"
dpkg-deb --root-owner-group --build "$work/package" "$work/tree/lgpio.deb" >/dev/null
chroot "$work/tree" dpkg --install /lgpio.deb >/dev/null
rm "$work/tree/lgpio.deb"
say "lgpio: $((SECONDS - started)) s"

rm -rf "$work"/tree/var/cache/apt/* "$work"/tree/var/lib/apt/lists/*
mv "$work/tree" "$result"
keep_newest "tree-$suite"
say "tree of $suite: $(du -sh "$result" | cut -f1)"
echo "$result"
