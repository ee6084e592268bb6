#!/usr/bin/env bash
# Copies an image with its attestations to a repository of ECR, under the same digest, and prints its name there:
# infra/deploy/copy-image.sh ghcr.io/OWNER/NAME@sha256:… 123456789012.dkr.ecr.REGION.amazonaws.com/NAME
# It needs aws with credentials, docker with buildx, and a login to the first registry.
set -euo pipefail

image=${1:?an image by digest} repository=${2:?a repository}
digest=${image#*@}
registry=${repository%%/*}

aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >&2
# Tags are immutable there, so the digest makes the tag; a second deployment of it finds it.
tag=${digest#sha256:}
if ! aws ecr describe-images --repository-name "${repository#*/}" --image-ids "imageDigest=$digest" >/dev/null 2>&1; then
    docker buildx imagetools create --tag "$repository:$tag" "$image" >&2
fi
# Deployed is what was attested, or nothing.
aws ecr describe-images --repository-name "${repository#*/}" --image-ids "imageDigest=$digest" >/dev/null || {
    echo "copy-image: $repository has no image $digest after the copy" >&2
    exit 1
}
printf '%s@%s\n' "$repository" "$digest"
