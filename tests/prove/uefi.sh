#!/usr/bin/env bash
# OVMF over PXE and TFTP, as Debian ships them: from power-on to in service.
exec "$(dirname "$0")/../run/boot-path.sh" uefi
