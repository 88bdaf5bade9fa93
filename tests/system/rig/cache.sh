# Sourced by the build scripts of this folder: where results are kept, and Debian's mirrors as this machine has them.
#
# Every result lies in $cache/KIND-HASH, HASH being of all that goes into it; it is there complete or not at all.

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$rig/../../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pipit-rig
mkdir -p "$cache"

say() { echo "[rig $(date +%T)] $*" >&2; }

# hash_of FILE...: of names and contents, folders included.
hash_of() { (cd "$checkout" && find "$@" -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-12; }

# keep_newest KIND: what older inputs left behind goes, except the last one before (another branch may be using it).
keep_newest() { ls -dt "$cache/$1"-* 2>/dev/null | grep -v '\.part$' | tail -n +3 | xargs -r rm -rf; }

# The host's own mirrors, in either format of apt sources; the environment may name others.
mirror() {
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } |
        sed -n '/^ *#/d; s/.*\(https\?:\/\/[^ ]*debian[^ ]*\).*/\1/p' | grep "$@" | head -n 1
}
debian=${DEBIAN_MIRROR:-$(mirror -v security)}
security=${SECURITY_MIRROR:-$(mirror security)}
[ -n "$debian" ] && [ -n "$security" ] || {
    say "no Debian mirror in this machine's apt sources: name one in DEBIAN_MIRROR, and the one of its security updates in SECURITY_MIRROR"
    exit 1
}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# private_apt FOLDER SOURCE...: an apt of its own in FOLDER; the host's lists and sources are not touched. Sets the array `apt_options`.
private_apt() {
    local folder=$1; shift
    mkdir -p "$folder"/lists/partial "$folder"/cache/archives/partial
    : > "$folder/status"
    printf "deb [signed-by=$keyring] %s\n" "$@" > "$folder/sources.list"
    apt_options=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$folder/lists"
        -o "Dir::Cache=$folder/cache" -o "Dir::State::status=$folder/status" -o APT::Sandbox::User=root)
    apt-get "${apt_options[@]}" update -qq
}
