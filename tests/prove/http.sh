#!/usr/bin/env bash
# OVMF over HTTP boot, as Debian ships them: from power-on to in service.
exec "$(dirname "$0")/../run/boot-path.sh" http
