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

# The package's files, by npm where it is there, else straight from the registry.
if [ ! -d "$place/package/csvs" ]; then
    archive=
    if command -v npm >/dev/null; then
        archive=$(cd "$place" && npm pack --silent csv-spectrum@2.0.0)
    else
        archive=csv-spectrum-2.0.0.tgz
        "$place/venv/bin/python" - "$place/$archive" <<'PYTHON' || die "csv-spectrum could not be fetched"
import sys, urllib.request
urllib.request.urlretrieve("https://registry.npmjs.org/csv-spectrum/-/csv-spectrum-2.0.0.tgz", sys.argv[1])
PYTHON
    fi
    tar -xzf "$place/$archive" -C "$place"
fi

office=$(command -v soffice || true)
if [ -z "$office" ] && [ "${MILLRACE_TEST_LIBREOFFICE:-}" = 1 ]; then
    command -v apt-get >/dev/null || die "LibreOffice is wanted, and cannot be installed here"
    say "Installing LibreOffice Calc …"
    if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libreoffice-calc-nogui >&2
    office=$(command -v soffice)
fi

exec "$place/venv/bin/python" compare.py "$millrace" "$place" "$office"
