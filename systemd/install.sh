#!/bin/sh
# Install Pipit from this checkout, or update it: sudo make install
#
# /opt/pipit gets a virtual environment, /usr/local/lib/systemd the unit, /etc/pipit/pipit.yaml the default configuration unless there
# is one. With DESTDIR set everything goes below it and the running system is left alone, as packaging wants.
#
# What only some services and wake words need is installed when it is asked for, and stays through updates:
# sudo make install EXTRAS=fish, or several: EXTRAS="fish mcp". pyproject.toml lists them.
set -eu
umask 022 # the service's user must be able to read it

DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}  # the distribution's: its packages are built for this one
checkout=$(cd "$(dirname "$0")/.." && pwd)
venv=/opt/pipit
say() { echo "==> $*"; }

[ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || { echo "Installing needs root: sudo make install" >&2; exit 1; }
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "$PYTHON is $("$PYTHON" --version), and Pipit needs 3.11 or later: that is Debian 12, Raspberry Pi OS Bookworm" >&2; exit 1; }
known=$("$PYTHON" -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["project"]["optional-dependencies"])' \
    <"$checkout/pyproject.toml")
asked=$(echo "${EXTRAS:-}" | tr , ' ')
for extra in $asked; do
    case " $known " in
        *" $extra "*) ;;
        *) echo "EXTRAS: \"$extra\" is not one of $known" >&2; exit 1 ;;
    esac
done
extras=$({ cat "$DESTDIR$venv/extras" 2>/dev/null || true; printf '%s\n' gpio $asked; } | sort -u)
[ -n "$DESTDIR" ] || "$checkout/systemd/packages.sh" run $extras

# The distribution's Python packages are visible in the virtual environment, as Raspberry Pi OS recommends: lgpio has no wheel for
# Python 3.13, PyAudio and systemd-python have none at all, and compiling them takes a compiler that a 512 MB Raspberry Pi need not
# have. What Pipit needs newer than the distribution has it comes from PyPI, into the virtual environment, and wins there.
say "Virtual environment in $DESTDIR$venv"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ -d "$DESTDIR$venv/lib/python$version" ] || rm -rf "$DESTDIR$venv" # made by an older Python
"$PYTHON" -m venv --system-site-packages "$DESTDIR$venv"

# Built from a copy: setuptools would leave root's files here, and put yesterday's into today's package.
say "Pipit and what it needs"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -R "$checkout/pyproject.toml" "$checkout/README.md" "$checkout/LICENSE" "$source"
mkdir "$source/daemon"
(cd "$checkout/daemon" && find pipit -type f ! -name '*.pyc' -exec cp --parents {} "$source/daemon" \;)
"$DESTDIR$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --upgrade "$source[$(echo $extras | tr ' ' ,)]"
echo "$extras" >"$DESTDIR$venv/extras"
if [ -n "$DESTDIR" ]; then
    grep -rlIF "$DESTDIR" "$DESTDIR$venv/bin" "$DESTDIR$venv/pyvenv.cfg" | xargs -r sed -i "s|$DESTDIR||g"
fi

say "Service"
install -D -m 644 "$checkout/systemd/pipit.service" "$DESTDIR/usr/local/lib/systemd/system/pipit.service"
install -D -m 644 "$checkout/systemd/sysusers.conf" "$DESTDIR/usr/local/lib/sysusers.d/pipit.conf"
install -D -m 644 "$checkout/README.md" "$DESTDIR/usr/local/share/doc/pipit/README.md"
install -d -m 755 "$DESTDIR/usr/local/bin"
ln -sf "$venv/bin/pipit" "$DESTDIR/usr/local/bin/pipit"
install -d -m 700 "$DESTDIR/etc/credstore.encrypted"

config=$DESTDIR/etc/pipit/pipit.yaml
install -D -m 644 "$checkout/config/schema.json" "$(dirname "$config")/schema.json" # for editors; the file's first line names it
if [ ! -e "$config" ]; then
    install -D -m 644 "$checkout/config/pipit.yaml" "$config"
elif ! cmp -s "$checkout/config/pipit.yaml" "$config"; then
    install -m 644 "$checkout/config/pipit.yaml" "$config.new"
    say "Your $config is untouched; the defaults of this version are in $config.new"
fi

[ -z "$DESTDIR" ] || exit 0

systemd-sysusers pipit.conf
if [ -d /run/systemd/system ]; then # otherwise an image is being built
    systemctl daemon-reload
    if systemctl --quiet is-active pipit; then
        say "Restarting Pipit"
        systemctl restart pipit
        exit 0
    fi
fi
say "Installed. What is left to do:"
cat <<'NEXT'
    sudo systemd-creds encrypt --name=openai - /etc/credstore.encrypted/openai    (type your key, Enter, Ctrl-D)
    sudo nano /etc/pipit/pipit.yaml
    sudo pipit check
    sudo systemctl enable --now pipit
    journalctl -u pipit -f
NEXT
