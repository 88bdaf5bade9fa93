#!/bin/bash
# Put the guest's disk together: disk.sh bookworm|trixie KERNEL WHEELS. Root tree, kernel modules and the pieces of guest/; Pipit is not
# on it yet. KERNEL and WHEELS are what kernel.sh and wheels.sh printed; they need no root, this does.
# Prints the folder with `disk` (ext4) and `devicetree`.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

suite=$1
kernel=$2
tree=$("$rig/tree.sh" "$suite" "$3")

inputs=$(echo "$kernel $tree" | sha256sum | cut -c1-6)
result=$cache/disk-$suite-$inputs-$(hash_of tests/system/rig/disk.sh tests/system/rig/guest)
if [ ! -d "$result" ]; then
    started=$SECONDS
    work=$result.part
    rm -rf "$work"; mkdir -p "$work"/{upper,scratch,merged,result}
    trap 'umount -q "$work/merged" || true; rm -rf "$work"' EXIT
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/upper,workdir=$work/scratch" "$work/merged"
    root=$work/merged

    cp -R "$kernel"/modules/lib/modules "$root/usr/lib/"
    mkdir -p "$root"/{share,usr/local/lib/rig,var/log/journal,etc/modprobe.d}
    install -m 644 "$rig"/guest/*.py "$rig"/guest/*.sh "$root/usr/local/lib/rig/"
    install -m 644 "$rig"/guest/*.service "$root/etc/systemd/system/"
    systemctl --quiet --root "$root" enable rig-agent.service rig-gpio.service 2>/dev/null

    # The sound card: two devices, each the other end of the other's cable, on an exact clock.
    echo snd-aloop > "$root/etc/modules-load.d/rig.conf"
    echo 'options snd-aloop id=Speakerphone pcm_substreams=1 timer_source=hrtimer' > "$root/etc/modprobe.d/rig.conf"
    # Raspberry Pi OS gives the pins to the group gpio.
    chroot "$root" groupadd --system gpio
    echo 'SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"' > "$root/etc/udev/rules.d/60-gpio.rules"

    echo raspberrypi > "$root/etc/hostname"
    echo '127.0.0.1 localhost raspberrypi' > "$root/etc/hosts"
    : > "$root/etc/fstab"                                # the kernel mounts the disk, whatever it is called there
    rm -f "$root/etc/resolv.conf"
    # Nobody logs in, and nothing may begin by itself while a test measures.
    for unit in getty@tty1.service serial-getty@ttyS0.service console-getty.service systemd-timesyncd.service apt-daily.timer \
        apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer
    do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done

    truncate -s 2G "$work/result/disk"
    nice -n 10 mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -m 0 -d "$root" "$work/result/disk"
    dtc -q -I dts -O dtb -o "$work/result/devicetree" "$rig/guest/raspberry-pi-4.dts"
    umount "$work/merged"
    mv "$work/result" "$result"
    keep_newest "disk-$suite"
    say "disk of $suite: $((SECONDS - started)) s, $(du -sh "$result" | cut -f1)"
fi
echo "$result"
