#!/bin/sh
# Installs what the tests and the demo need beside Go, on Debian and Ubuntu:
# the PostgreSQL server, Kea's database schema, dig, curl and openssl for the
# commands in READMEs, Ansible, PyYAML and yamllint, which read the inventory
# files, and the C compiler that the race detector needs. What is there is left
# alone; if all of it is, the script does nothing and needs no rights.
set -eu

has_postgres() {
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return 0
	done
	command -v initdb >/dev/null && command -v postgres >/dev/null
}

packages=""
has_postgres || packages="$packages postgresql"
[ -r /usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql ] || packages="$packages kea-admin"
command -v dig >/dev/null || packages="$packages bind9-dnsutils"
command -v curl >/dev/null || packages="$packages curl"
command -v openssl >/dev/null || packages="$packages openssl"
command -v ansible-inventory >/dev/null || packages="$packages ansible-core"
command -v yamllint >/dev/null || packages="$packages yamllint"
python3 -c 'import yaml' 2>/dev/null || packages="$packages python3-yaml"
command -v cc >/dev/null || command -v gcc >/dev/null || packages="$packages gcc libc6-dev"
if [ -z "$packages" ]; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "$0: this is neither Debian nor Ubuntu: install what these packages hold, in your system's way:$packages" >&2
	exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "$0: root is needed to install:$packages" >&2
		exit 1
	fi
	sudo=sudo
fi

# Debian starts a cluster "main" when the server is installed. Nobody asked for
# it here, and the tests bring their own. What exists already is not touched.
case "$packages" in
*postgresql*)
	dropin=/etc/postgresql-common/createcluster.d/50-keastream-no-main.conf
	trap '$sudo rm -f "$dropin"' EXIT
	trap 'exit 1' HUP INT TERM
	$sudo mkdir -p "${dropin%/*}"
	echo "create_main_cluster = false" | $sudo tee "$dropin" >/dev/null
	;;
esac

echo "$0: installing:$packages" >&2
$sudo apt-get update -q
# The names are words of this script: they are meant to be split.
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
