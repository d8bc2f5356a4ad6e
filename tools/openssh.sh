#!/bin/sh
# Unpacks Debian's OpenSSH server into a folder, without installing it, and prints the path of its sshd.
#
#     BREVPLAN_SSHD=$(sh tools/openssh.sh .venv/openssh) make test
#
# The tests that want a real OpenSSH server run with it; without one they are skipped, saying so.
set -eu
folder=${1:?the folder to unpack into}
if [ ! -x "$folder/usr/sbin/sshd" ]; then
    mkdir -p "$folder"
    (
        cd "$folder"
        apt-get download -q openssh-server libwrap0
        for package in ./*.deb; do
            dpkg -x "$package" .
        done
        rm -f ./*.deb
    ) >&2
fi
echo "$(cd "$folder" && pwd)/usr/sbin/sshd"
