#!/bin/sh
# run.sh: builds infra/docker/Dockerfile in bare Debian systems (debootstrap, chroot) instead of an engine, and runs
# the services of docker-compose.yml from the result until their health checks pass. Takes a whole release build; needs
# root, Linux and Debian's packages.
set -eu
cd "$(dirname "$0")/../.."

[ "$(id -u)" -eq 0 ] || { echo "run.sh: chroot needs root" >&2; exit 1; }
missing=
for package in debootstrap iproute2 postgresql python3-yaml redis-server; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || apt-get install --yes --quiet --no-install-recommends $missing

place=$(realpath "${CARGO_TARGET_DIR:-target}")/image
mkdir -p "$place"
/usr/bin/python3 tests/image/build.py "$place"
# A network of its own: the ports of the services are free there, and nothing outside can be reached.
unshare --net --fork /usr/bin/python3 tests/image/services.py "$place"
