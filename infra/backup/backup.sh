#!/bin/sh
# backup.sh DIRECTORY: a backup of a running installation in a new directory: the database as it is at one moment,
# then the files, of which it names each. Nothing has to stop. Reads DATABASE_URL and MILLRACE_STORAGE or
# MILLRACE_DATA_DIR as Millrace does; needs pg_dump of the server's version or newer.
set -eu

say() { printf '%s\n' "$*" >&2; }

die() {
    say "backup.sh: $*"
    exit 1
}

[ $# -eq 1 ] || die "usage: backup.sh DIRECTORY"
target=$1
[ -n "${DATABASE_URL:-}" ] || die "set DATABASE_URL"
[ ! -e "$target" ] || die "$target is there already; name a new directory"
umask 077
mkdir -p "$target"

say "The database …"
pg_dump --format=custom --compress=6 --no-owner --no-privileges --file "$target/database.dump.part" "$DATABASE_URL"
mv "$target/database.dump.part" "$target/database.dump"

case ${MILLRACE_STORAGE:-} in
    s3://*)
        say "The files stay in $MILLRACE_STORAGE: its versions are their backup."
        ;;
    *)
        files=${MILLRACE_STORAGE:-${MILLRACE_DATA_DIR:-.millrace}/files}
        say "The files …"
        if [ -d "${files#file://}" ]; then
            tar -C "${files#file://}" -cf "$target/files.tar.part" .
            mv "$target/files.tar.part" "$target/files.tar"
        else
            say "There are none yet at ${files#file://}."
        fi
        ;;
esac

# What is whole says so: restore.sh takes nothing else.
(
    cd "$target"
    set -- database.dump
    [ ! -e files.tar ] || set -- "$@" files.tar
    sha256sum "$@" >SHA256SUMS.part
    mv SHA256SUMS.part SHA256SUMS
)
say "Done: $target"
