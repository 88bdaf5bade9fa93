#!/bin/bash
# Fetch what pip needs to install Pipit in a guest without a network: wheels.sh bookworm|trixie.
# Prints the folder of the wheels; source/ in it is for tree.sh. PYTHON is a Python with pip.
set -euo pipefail
. "$(dirname "$0")/cache.sh"

case $1 in bookworm) version=3.11 ;; trixie) version=3.13 ;; esac
python=${PYTHON:-python3}

# Pipit's dependencies, what builds Pipit, and the rehearsal's; without what the distribution supplies (systemd/packages.txt), which
# has no wheels.
requirements=$("$python" - "$checkout/pyproject.toml" <<'PYTHON'
import re, sys, tomllib

project = tomllib.load(open(sys.argv[1], "rb"))
wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
wanted += project["project"]["optional-dependencies"]["rehearsal"] + ["wheel"]
supplied = {"pyaudio", "systemd-python", "pyyaml"}
print("\n".join(want.split(";")[0] for want in wanted if re.match(r"[\w-]+", want)[0].lower() not in supplied))
PYTHON
)
result=$cache/wheels-$version-$( (cd "$checkout" && cat tests/system/rig/wheels.sh; echo "$requirements") | sha256sum | cut -c1-12)
[ -d "$result" ] && { echo "$result"; exit; }

platforms=$(for glibc in 36 35 34 31 28 27 26 24 17; do echo "--platform manylinux_2_${glibc}_x86_64"; done)
started=$SECONDS
rm -rf "$result.part"; mkdir -p "$result.part"
echo "$requirements" > "$result.part/requirements.txt"
"$python" -m pip download --quiet --quiet --disable-pip-version-check --only-binary=:all: --python-version "$version" --implementation cp \
    $platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform any \
    --dest "$result.part" --requirement "$result.part/requirements.txt" >&2
"$python" -m pip download --quiet --quiet --disable-pip-version-check --no-deps --no-binary=:all: --dest "$result.part/source" lgpio >&2
mv "$result.part" "$result"
keep_newest "wheels-$version"
say "wheels for Python $version: $((SECONDS - started)) s, $(du -sh "$result" | cut -f1)"
echo "$result"
