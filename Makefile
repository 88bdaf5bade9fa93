# make demo     the whole speaker with no sound card, no pins and no account (make demo LIVE=1: your own microphone and loudspeaker)
# make test     every test                  make check    style, types and the dependency rules
# make bench    the measurements            make install  on a Raspberry Pi, with sudo; make uninstall takes it away again
# make test-aarch64   what computes, on a Raspberry Pi's processor, emulated (tests/system/README.md)
# make test-system    Pipit installed on virtual Raspberry Pis (tests/system/README.md); the first time builds them, with sudo
#
# What a target needs is installed first: Debian packages that are missing (through sudo), Python packages into .venv.
# Another Python: make test PYTHON=python3.13 (with a virtual environment of its own). Options for pytest: make test ARGS='-k journal'

PYTHON ?= python3
VENV   := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())'))
BIN    := $(VENV)/bin

.PHONY: demo test test-aarch64 test-system check bench install uninstall clean

demo: $(VENV)/.demo
	$(BIN)/pipit demo $(if $(LIVE),--live) $(if $(PROVIDER),--provider $(PROVIDER))

test: $(VENV)/.test
	$(BIN)/python -m pytest -q $(ARGS)

# The emulator has a thread of its own.
test-aarch64: ARGS = tests/wake tests/echo tests/core tests/test_vad.py tests/test_gate.py -k 'not second_thread'
test-aarch64:
	systemd/packages.sh emulator
	tests/system/rig/aarch64.sh $(or $(SUITE),bookworm) -q $(ARGS)

test-system: $(VENV)/.test $(VENV)/.rig
	@[ "$(GUEST)" != qemu ] || systemd/packages.sh qemu
	$(BIN)/python -m pytest -v tests/system/virtual_pi $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.test
	$(BIN)/python tests/bench/run.py $(ARGS)

install:
	systemd/install.sh

uninstall:
	-[ -n "$(DESTDIR)" ] || systemctl disable --now pipit
	rm -rf $(addprefix $(DESTDIR),/opt/pipit /usr/local/bin/pipit /usr/local/share/doc/pipit \
	    /usr/local/lib/systemd/system/pipit.service /usr/local/lib/sysusers.d/pipit.conf)
	@echo 'Kept: /etc/pipit, the keys in /etc/credstore.encrypted, what was learnt in /var/lib/pipit, the user pipit'

clean:
	rm -rf .venv* build .demo .*_cache .hypothesis daemon/*.egg-info

# -- what the targets need: a stamp says that it was installed after pyproject.toml and the list of packages last changed ------------

$(VENV)/.rig: systemd/packages.txt
	systemd/packages.sh rig
	@touch $@

$(VENV)/.demo: NEEDS = build demo
$(VENV)/.demo: EXTRAS = rehearsal
$(VENV)/.test: NEEDS = build demo test
$(VENV)/.test: EXTRAS = rehearsal,dev
$(VENV)/.demo $(VENV)/.test: pyproject.toml systemd/packages.txt
	systemd/packages.sh $(NEEDS)
	@echo 'Installing Python packages into $(VENV) (a minute or two, the first time)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[$(EXTRAS)]'
	@touch $(VENV)/.demo $@
