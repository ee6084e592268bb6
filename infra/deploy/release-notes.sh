#!/usr/bin/env bash
# Prints the section of CHANGELOG.md for a tag such as v1.2.3: infra/deploy/release-notes.sh v1.2.3
# Fails if the tag is not the version in Cargo.toml, or if there is no such section (`## 1.2.3`, a date may follow).
set -euo pipefail
cd "$(dirname "$0")/../.."

die() {
    printf 'release-notes: %s\n' "$*" >&2
    exit 1
}

tag=${1:?a tag}
version=$(awk -F '"' '/^\[/ { here = $0 == "[workspace.package]" } here && /^version = / { print $2; exit }' Cargo.toml)
[ "$tag" = "v$version" ] || die "the tag is $tag, Cargo.toml says $version"

notes=$(awk -v version="$version" '
    /^## / { here = ($2 == version || $2 == "[" version "]"); next }
    here' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] || die "CHANGELOG.md has no section ## $version"
printf '%s\n' "$notes"
