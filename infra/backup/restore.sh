#!/bin/sh
# restore.sh DIRECTORY: brings a backup of backup.sh into an empty database and an empty directory of files. Stop every
# process of Millrace first, start them afterwards; Redis may be empty. Reads the same variables as Millrace; needs
# pg_restore of the version that made the backup or newer, and `millrace` (or what MILLRACE names).
set -eu

say() { printf '%s\n' "$*" >&2; }

die() {
    say "restore.sh: $*"
    exit 1
}

[ $# -eq 1 ] || die "usage: restore.sh DIRECTORY"
source=$1
millrace=${MILLRACE:-millrace}
[ -n "${DATABASE_URL:-}" ] || die "set DATABASE_URL, of an empty database"
command -v "$millrace" >/dev/null || die "there is no $millrace: add it to PATH, or let MILLRACE name it"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/libpq.sh"
[ -e "$source/SHA256SUMS" ] || die "$source is no whole backup: it has no SHA256SUMS"
(cd "$source" && sha256sum --check --quiet SHA256SUMS) || die "$source was damaged; take another backup"

there=$(psql "$DATABASE_URL" -qtAXc "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
[ "$there" = 0 ] || die "the database is not empty: restore into a new one, and nothing is lost by a mistake"

if [ -e "$source/files.tar" ]; then
    case ${MILLRACE_STORAGE:-} in
        s3://*) die "the backup holds files, and MILLRACE_STORAGE is a bucket: unpack files.tar into it, then remove files.tar and its line of SHA256SUMS" ;;
    esac
    files=${MILLRACE_STORAGE:-${MILLRACE_DATA_DIR:-.millrace}/files}
    files=${files#file://}
    mkdir -p "$files"
    # What a restore that was cut off has left is its own; a look by \`millrace doctor\` leaves an empty directory.
    mark=$files/.restoring
    [ -e "$mark" ] || [ -z "$(find "$files" -type f | head -n 1)" ] ||
        die "$files is not empty: name another directory, or move away what is in it"
    say "The files …"
    : >"$mark"
    tar -C "$files" -xf "$source/files.tar"
fi

say "The database …"
# In one transaction: whole or not at all.
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname "$DATABASE_URL" "$source/database.dump"
# The server's own tables are not everybody's to look at.
PGOPTIONS='-c client_min_messages=error' psql "$DATABASE_URL" -qXc "ANALYZE"
[ -z "${mark:-}" ] || rm -f "$mark"

# A newer version may restore what an older one wrote.
{ "$millrace" migrate && "$millrace" restored; } ||
    die "the database is loaded; before anything starts, \`millrace migrate\` and \`millrace restored\` must end well"
say "Done. Start workers, api and scheduler: every accepted run goes on."
