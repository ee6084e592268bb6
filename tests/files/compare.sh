#!/bin/sh
# compare.sh MILLRACE: reads files that other programs wrote (Python's csv module, openpyxl, the npm
# package csv-spectrum and, with MILLRACE_TEST_LIBREOFFICE=1, LibreOffice) and compares every value with
# what Python and openpyxl read. Installs what it needs below target/compare.
set -eu
millrace=$(realpath "${1:?usage: compare.sh path/to/millrace}")
cd "$(dirname "$0")"
place=$(realpath "${CARGO_TARGET_DIR:-../../target}")/compare
mkdir -p "$place"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "compare.sh: $*"
    exit 1
}

command -v python3 >/dev/null || die "python3 is needed (apt-get install python3 python3-venv)"
if [ ! -x "$place/venv/bin/python" ] || ! "$place/venv/bin/python" -c 'import openpyxl' 2>/dev/null; then
    rm -rf "$place/venv"
    python3 -m venv "$place/venv" || die "Python's venv is needed (apt-get install python3-venv)"
    "$place/venv/bin/pip" install --quiet --disable-pip-version-check openpyxl==3.1.5 ||
        die "openpyxl could not be installed"
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install() {
    command -v apt-get >/dev/null || die "$1 is needed, and cannot be installed here"
    say "Installing $1 …"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >&2
}

if [ ! -d "$place/package/csvs" ]; then
    command -v npm >/dev/null || install npm
    archive=$(cd "$place" && npm pack --silent csv-spectrum@2.0.0) || die "csv-spectrum could not be fetched"
    tar -xzf "$place/$archive" -C "$place"
fi

office=$(command -v soffice || true)
if [ -z "$office" ] && [ "${MILLRACE_TEST_LIBREOFFICE:-}" = 1 ]; then
    install libreoffice-calc-nogui
    office=$(command -v soffice)
fi

exec "$place/venv/bin/python" compare.py "$millrace" "$place" "$office"
