#!/bin/bash
# Run tests as a Raspberry Pi's processor would: aarch64.sh bookworm|trixie [OPTION OF PYTEST ...]. Debian for arm64 in a folder, its
# programs emulated one by one (qemu-user): for what is compiled, and how Python reaches it. Slow, so nothing here is about time.
# Needs root: the folder has files of several owners, and programs run in it.
set -euo pipefail
[ "$(id -u)" = 0 ] || exec sudo "$0" "$@"
. "$(dirname "$0")/cache.sh"

suite=$1
shift
[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

needed() { sed -n "s/^$1  *\([^ ?]*\)\( .*\|\)$/\1/p" "$checkout/systemd/packages.txt"; }
include=$(echo ca-certificates $(needed build) $(needed demo) $(needed test) | tr ' ' ,)
result=$cache/aarch64-$suite-$( (cd "$checkout" && cat tests/system/rig/aarch64.sh pyproject.toml; echo "$include") | sha256sum | cut -c1-12)

# The checkout as it is now, what is not committed included, without what git ignores.
copy() {
    rm -rf "$1/pipit"; mkdir "$1/pipit"
    (cd "$checkout" && git ls-files --cached --others --exclude-standard -z | xargs -0 tar --create --ignore-failed-read) | tar --extract -C "$1/pipit"
}

if [ ! -d "$result" ]; then
    work=$result.part
    rm -rf "$work"; mkdir -p "$work"
    started=$SECONDS
    nice -n 10 mmdebstrap --quiet --mode=root --arch=arm64 --variant=minbase --include="$include" \
        --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
        "$suite" "$work/tree" "deb $debian $suite main" "deb $security $suite-security main" >&2
    say "Debian $suite for arm64: $((SECONDS - started)) s"
    started=$SECONDS
    cp --dereference /etc/resolv.conf "$work/tree/etc/"
    cp --dereference /etc/ssl/certs/ca-certificates.crt "$work/tree/etc/ssl/certs/"  # with those that only this machine trusts
    copy "$work/tree"
    nice -n 10 chroot "$work/tree" env -i PATH="$PATH" HOME=/root sh -ec '
        cd /pipit
        python3 -m venv /venv
        /venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable ".[rehearsal,dev]"
        # Only judges of the wake word, and they crash in the emulator (7.2) as soon as they see /sys.
        /venv/bin/python -m pip uninstall --quiet --yes onnxruntime ai-edge-litert' >&2
    mv "$work/tree" "$result"
    rm -rf "$work"
    keep_newest "aarch64-$suite"
    say "Python packages: $((SECONDS - started)) s, $(du -sh "$result" | cut -f1)"
fi

copy "$result"
# In a mount namespace of its own, so that nothing stays mounted in a folder that will be removed.
nice -n 5 unshare --mount --propagation private sh -ec '
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --bind /sys "$root/sys"  # TensorFlow Lite asks it about the processor
    exec chroot "$root" env -i PATH="$PATH" HOME=/root CI="${CI:-}" sh -c "cd /pipit && uname -m && exec /venv/bin/python -m pytest \"\$@\"" sh "$@"
' sh "$result" "$@"
