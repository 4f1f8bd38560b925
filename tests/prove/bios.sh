#!/usr/bin/env bash
# SeaBIOS and the card's iPXE, as Debian ships them: from power-on to in service.
exec "$(dirname "$0")/../run/boot-path.sh" bios
