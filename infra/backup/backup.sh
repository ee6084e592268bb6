#!/bin/sh
# backup.sh DIRECTORY: a backup of a running installation in a new directory: the database as it is at one moment,
# then the files, of which it names each. Nothing has to stop. Reads DATABASE_URL, MILLRACE_CA, and MILLRACE_STORAGE or
# MILLRACE_DATA_DIR as Millrace does; needs pg_dump of the server's version or newer, psql and GNU tar.
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
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/libpq.sh"

case ${MILLRACE_STORAGE:-} in
    s3://*) files= ;;
    *)
        files=${MILLRACE_STORAGE:-${MILLRACE_DATA_DIR:-.millrace}/files}
        files=${files#file://}
        # A backup without the files of its uploads would look like a whole one.
        uploads=$(psql "$DATABASE_URL" -qtAXc "SELECT count(*) FROM uploads")
        [ -d "$files" ] || [ "$uploads" = 0 ] ||
            die "there are $uploads uploads, and no directory $files: set MILLRACE_DATA_DIR or MILLRACE_STORAGE as Millrace has it"
        ;;
esac
mkdir -p "$target"

say "The database …"
pg_dump --format=custom --compress=6 --no-owner --no-privileges --file "$target/database.dump.part" "$DATABASE_URL"
mv "$target/database.dump.part" "$target/database.dump"

if [ -z "$files" ]; then
    say "The files stay in $MILLRACE_STORAGE: its versions are their backup."
elif [ ! -d "$files" ]; then
    say "There are no files yet at $files."
else
    say "The files …"
    # Uploads go on: a file that is being written has a name with # and a number, and belongs to nothing that the
    # database above knows. tar's 1 says that something came or went meanwhile.
    tar -C "$files" --exclude='*#[0-9]*' --exclude=./checks -cf "$target/files.tar.part" . || [ $? -eq 1 ] ||
        die "the files cannot be saved"
    mv "$target/files.tar.part" "$target/files.tar"
fi

# What is whole says so: restore.sh takes nothing else.
(
    cd "$target"
    set -- database.dump
    [ ! -e files.tar ] || set -- "$@" files.tar
    sha256sum "$@" >SHA256SUMS.part
    mv SHA256SUMS.part SHA256SUMS
)
say "Done: $target"
