#!/bin/sh
# Debian calls it with "upgrade" and rpm with 1 when another version follows.
set -e
case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now sonde.service
	fi
	;;
esac
