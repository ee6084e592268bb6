#!/bin/sh
# newcomer.sh: a bare Debian (debootstrap) with nothing but Rust in it, a checkout, and ./run demo; each line that it
# prints with the seconds since the beginning. Needs root and Linux; takes a whole build.
set -eu
cd "$(dirname "$0")/../.."

[ "$(id -u)" -eq 0 ] || { echo "newcomer.sh: chroot needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install --yes --quiet --no-install-recommends debootstrap

place=$(realpath "${CARGO_TARGET_DIR:-target}")/image
root=$place/newcomer
mkdir -p "$place"
[ -d "$place/bare" ] || debootstrap --variant=minbase bookworm "$place/bare" \
    "${MILLRACE_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
rm -rf "$root"
cp --archive "$place/bare" "$root"

# Rust, as rustup would have left it; what of the registry is here already is not fetched again.
mkdir -p "$root/usr/local/rust" "$root/root/.cargo" "$root/root/millrace"
cp --archive "$(rustc --print sysroot)/." "$root/usr/local/rust/"
for name in registry config.toml; do
    [ ! -e "${CARGO_HOME:-$HOME/.cargo}/$name" ] || cp --archive "${CARGO_HOME:-$HOME/.cargo}/$name" "$root/root/.cargo/"
done
mkdir -p "$root/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
git archive HEAD | tar -x -C "$root/root/millrace"

mounted=
leave() {
    for name in $mounted; do umount "$root/$name"; done
}
trap leave EXIT
for name in proc dev sys; do
    mount --bind "/$name" "$root/$name"
    mounted="$name $mounted"
done

began=$(date +%s)
chroot "$root" /usr/bin/env --ignore-environment HOME=/root LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'cd /root/millrace && ./run demo --exit; echo "ended with $?"' 2>&1 | while IFS= read -r line; do
    printf '%4d s  %s\n' "$(($(date +%s) - began))" "$line"
done
