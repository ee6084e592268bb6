#!/bin/sh
# Makes an empty crate of each member, beside its manifest, so that the dependencies compile without our sources.
set -eu

for manifest in */Cargo.toml; do
    member=${manifest%/Cargo.toml}
    mkdir -p "$member/src"
    grep -q '^path = "src/main.rs"$' "$manifest" || : >"$member/src/lib.rs"
    # Targets that the manifest names must be there.
    sed -n 's/^path = "\(.*\.rs\)"$/\1/p' "$manifest" | while read -r path; do
        mkdir -p "$member/$(dirname "$path")"
        echo 'fn main() {}' >"$member/$path"
    done
done
