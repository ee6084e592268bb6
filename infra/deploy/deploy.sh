#!/usr/bin/env bash
# Brings an image to an installation on ECS: infra/deploy/deploy.sh REGISTRY/REPOSITORY@sha256:…
#
# 1. Migrates, by a task of its own, whose exit code counts.
# 2. Replaces api, worker and scheduler, one after the other; the next waits until the last has come up: until ECS has
#    found the new tasks healthy, of worker and scheduler at /readyz, which says 200 once they have begun to work.
# 3. Asks the load balancer whether the api is ready.
# If 2 or 3 fails, or the script is told to stop, the services go back to what they ran before. The schema stays:
# infra/checks/migrations.py refuses migrations on which the version before could not work.
#
# It needs aws with credentials, curl, jq, and to know where. In infra/terraform:
#   eval "$(terraform output -raw task_environment)"; URL=$(terraform output -raw url); export URL
# Afterwards `image` in terraform.tfvars has to name the same image, or the next apply brings back the one before.
set -euo pipefail

rollout_seconds=${ROLLOUT_SECONDS:-1800}
ready_seconds=${READY_SECONDS:-180}
pause_seconds=${PAUSE_SECONDS:-10}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "deploy: $*"
    exit 1
}

# A new revision of a task definition's family, from its newest, which has what Terraform set last, with the image in
# the place of the one that is there. Prints its ARN.
register() {
    local family definition
    family=${1##*/}
    definition=$(aws ecs describe-task-definition --task-definition "${family%:*}" \
        --query taskDefinition --output json) || return 1
    definition=$(jq -ce --arg image "$image" '
        if (.containerDefinitions | length) == 1 then . else error("not one container") end
        | .containerDefinitions[0].image = $image
        | del(.taskDefinitionArn, .revision, .status, .requiresAttributes, .compatibilities, .registeredAt,
            .registeredBy, .deregisteredAt)' <<<"$definition") || return 1
    aws ecs register-task-definition --cli-input-json "$definition" \
        --query taskDefinition.taskDefinitionArn --output text
}

# Is this killed? The task goes on and holds the migrations' lock; that of the next deployment waits for it.
migrate() {
    local definition
    definition=$(register "$TASK_DEFINITION") || die "the task of migrate cannot be registered"
    TASK_DEFINITION=$definition sh "$here/../terraform/run-task.sh" migrate || die "migrate failed; nothing was replaced"
}

update() {
    aws ecs update-service --cluster "$CLUSTER" --service "$1" --task-definition "$2" --output json >/dev/null
}

# Waits until a service runs this task definition and nothing else. ECS may give up and go back by itself; then
# another is the primary one.
came_up() {
    local service=$1 definition=$2 deployments state deadline=$((SECONDS + rollout_seconds))
    while :; do
        deployments=$(aws ecs describe-services --cluster "$CLUSTER" --services "$service" \
            --query 'services[0].deployments' --output json) || deployments='[]'
        state=$(jq -r --arg definition "$definition" '
            map(select(.status == "PRIMARY"))[0]
            | if . == null then "UNKNOWN" elif .taskDefinition != $definition then "REPLACED" else .rolloutState end' \
            <<<"$deployments")
        case $state in
            COMPLETED) return 0 ;;
            FAILED | REPLACED)
                say "$service did not come up: $state"
                return 1
                ;;
        esac
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "$service has not come up within $rollout_seconds s"
            return 1
        fi
        sleep "$pause_seconds"
    done
}

# Five good answers in a row: behind the load balancer are several tasks.
is_ready() {
    local good=0 deadline=$((SECONDS + ready_seconds))
    while [ "$good" -lt 5 ]; do
        if curl --fail --silent --show-error --max-time 10 --output /dev/null "${URL%/}/readyz"; then
            good=$((good + 1))
            continue
        fi
        good=0
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "$URL is not ready"
            return 1
        fi
        sleep "$pause_seconds"
    done
}

roll_out() {
    local service before after
    for service in api worker scheduler; do
        before=$(aws ecs describe-services --cluster "$CLUSTER" --services "$service" \
            --query 'services[0].taskDefinition' --output text) || return 1
        after=$(register "$before") || return 1
        say "Replacing $service: $before by $after …"
        # On record before the update: a stop between the two then undoes it, too.
        replaced=("$service" "$before" ${replaced[@]+"${replaced[@]}"})
        update "$service" "$after" || return 1
        came_up "$service" "$after" || return 1
    done
    is_ready
}

# All are told first and awaited then: who is told to stop has seconds left.
roll_back() {
    local index failed=0
    for ((index = 0; index < ${#replaced[@]}; index += 2)); do
        say "Taking ${replaced[index]} back to ${replaced[index + 1]} …"
        update "${replaced[index]}" "${replaced[index + 1]}" || failed=1
    done
    for ((index = 0; index < ${#replaced[@]}; index += 2)); do
        came_up "${replaced[index]}" "${replaced[index + 1]}" || failed=1
    done
    if [ "$failed" -eq 0 ]; then
        say "The services run what they ran before."
    else
        say "Not all services went back: look after them now."
    fi
}

image=${1:-}
[[ $image =~ ^[^@[:space:]]+@sha256:[0-9a-f]{64}$ ]] || die "name an image by its digest: registry/repository@sha256:…"
for name in AWS_REGION CLUSTER LOG_GROUP SECURITY_GROUPS SUBNETS TASK_DEFINITION URL; do
    [ -n "${!name:-}" ] || die "$name is not set; see the head of this script"
done
export AWS_REGION LOG_GROUP SECURITY_GROUPS SUBNETS CLUSTER
here=$(dirname "$0")
# Pairs of a service and what it ran before, the newest first.
replaced=()

migrate
trap 'trap "" INT TERM; roll_back; die "told to stop"' INT TERM
if ! roll_out; then
    roll_back
    die "the deployment failed"
fi
say "ok: $image runs and is ready"
