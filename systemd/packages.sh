#!/bin/sh
# Install the Debian packages of the given groups of packages.txt, as far as they are missing: systemd/packages.sh run
set -eu

list=$(dirname "$0")/packages.txt

if ! command -v dpkg-query >/dev/null; then
    echo "This is not a Debian: make sure that you have what $list lists for: $*" >&2
    exit 0
fi

installed() { dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

missing() {
    for group in "$@"; do sed -n "s/^$group  *\([^ ]*\).*/\1/p" "$list"; done | sort -u | while read -r name; do
        installed "${name%\?}" || echo "$name"
    done
}

wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0

root=
[ "$(id -u)" = 0 ] || root=sudo
export DEBIAN_FRONTEND=noninteractive

echo "Installing Debian packages:" $wanted
# The list may be old, so that names are not found: refresh it. Where that fails (no network, one broken source), the old list may do.
$root apt-get -qq update || echo "The list of packages could not be refreshed; trying with the old one." >&2
names=
for name in $wanted; do
    case $name in
        *\?) apt-cache show "${name%\?}" >/dev/null 2>&1 || continue ;;
    esac
    names="$names ${name%\?}"
done
[ -z "$names" ] || $root apt-get -qq install --yes --no-install-recommends $names >/dev/null
