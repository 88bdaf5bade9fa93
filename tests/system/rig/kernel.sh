#!/bin/bash
# Build the guest's kernel, a User-Mode Linux: an ordinary program, so it needs no virtualisation and runs at the processor's speed.
# The source is Debian's linux-source package from trixie-backports: since Linux 6.16 User-Mode Linux has its fast "seccomp" mode.
# Prints the folder with `linux` (the kernel), `modules/` and `version`. Nothing is built, and no network asked, when it is there.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

result=$cache/kernel-$(hash_of tests/system/rig/kernel.sh tests/system/rig/kernel.config)
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
um() { nice -n 10 make --silent -C source ARCH=um O="$work/build" "$@"; }
um KCONFIG_ALLCONFIG="$rig/kernel.config" allnoconfig > build.log 2>&1
for option in $(sed -n 's/^CONFIG_\([A-Z0-9_]*\)=[ym]$/\1/p' "$rig/kernel.config"); do
    grep -q "^CONFIG_$option=[ym]" build/.config || say "this source does not have CONFIG_$option"
done
for option in SYSCTL HOSTFS SND_ALOOP GPIO_SIM MEMCG EXT4_FS SECCOMP OF; do
    grep -q "^CONFIG_$option=[ym]" build/.config || { say "CONFIG_$option is needed, but stayed off"; exit 1; }
done
um -j"$(nproc)" linux modules >> build.log 2>&1 || { tail -30 build.log >&2; exit 1; }
um INSTALL_MOD_PATH="$work/result/modules" INSTALL_MOD_STRIP=1 modules_install >> build.log 2>&1
find result/modules -type l -delete                      # to the source, which goes
strip -o result/linux build/linux
cp build/.config result/config
echo "$package $(um kernelrelease)" > result/version
mv result "$result"
keep_newest kernel
say "kernel $(cat "$result/version"): $((SECONDS - started)) s, $(du -sh "$result" | cut -f1)"
echo "$result"
