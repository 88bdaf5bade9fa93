#!/bin/bash
# Build the guest's kernel: kernel.sh uml|qemu. User-Mode Linux is an ordinary program, so it needs no virtualisation and runs at the
# processor's speed; the other is a PC's. The source is Debian's linux-source package from trixie-backports: since Linux 6.16 User-Mode
# Linux has its fast "seccomp" mode.
# Prints the folder with `linux` (the kernel), `modules/` and `version`. Nothing is built, and no network asked, when it is there.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

case $1 in
    uml) arch=um targets='linux modules' built=linux ;;
    qemu) arch=x86_64 targets=bzImage built=arch/x86/boot/bzImage ;;
esac
result=$cache/kernel-$1-$(hash_of tests/system/rig/kernel.sh tests/system/rig/kernel.config "tests/system/rig/kernel-$1.config")
[ -e "$result/version" ] && { echo "$result"; exit; }

release=trixie-backports
work=$result.part
rm -rf "$work"; mkdir -p "$work"/{build,result}; cd "$work"
trap 'rm -rf "$work"' EXIT

started=$SECONDS
private_apt "$work/apt" "$debian $release main" "$debian ${release%-backports} main"
package=$(apt-cache "${apt_options[@]}" depends "linux-source/$release" | awk '/Depends: linux-source-/ {print $2; exit}')
apt-get "${apt_options[@]}" download -qq "$package/$release"
dpkg-deb --fsys-tarfile "$package"_*.deb | tar --extract --strip-components=3 "./usr/src/$package.tar.xz"
mkdir source; tar --extract --file "$package.tar.xz" -C source --strip-components=1
rm "$package"*
say "kernel source $package: $((SECONDS - started)) s"

# A Raspberry Pi's tick is 250 Hz; User-Mode Linux has it fixed at 100.
sed -i '/^config HZ$/,/^$/ s/default 100/default 250/' source/arch/um/Kconfig

started=$SECONDS
kernel() { nice -n 10 make --silent -C source ARCH=$arch O="$work/build" "$@"; }
cat "$rig/kernel.config" "$rig/kernel-$1.config" > wanted
kernel KCONFIG_ALLCONFIG="$work/wanted" allnoconfig > build.log 2>&1
for option in $(sed -n 's/^CONFIG_\([A-Z0-9_]*\)=[ym]$/\1/p' wanted); do
    grep -q "^CONFIG_$option=[ym]" build/.config || say "this source does not have CONFIG_$option"
done
for option in SYSCTL SND_ALOOP GPIO_SIM MEMCG EXT4_FS SECCOMP OF; do
    grep -q "^CONFIG_$option=[ym]" build/.config || { say "CONFIG_$option is needed, but stayed off"; exit 1; }
done
kernel -j"$(nproc)" $targets >> build.log 2>&1 || { tail -30 build.log >&2; exit 1; }
cp "build/$built" result/linux
if [ "$1" = uml ]; then
    kernel INSTALL_MOD_PATH="$work/result/modules" INSTALL_MOD_STRIP=1 modules_install >> build.log 2>&1
    find result/modules -type l -delete                  # to the source, which goes
    strip result/linux
fi
cp build/.config result/config
echo "$package $(kernel kernelrelease)" > result/version
mv result "$result"
keep_newest "kernel-$1"
say "kernel for $1, $(cat "$result/version"): $((SECONDS - started)) s, $(du -sh "$result" | cut -f1)"
echo "$result"
