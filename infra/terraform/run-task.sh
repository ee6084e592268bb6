#!/bin/sh
# Runs one command of millrace as a task beside the services, waits until it has ended, shows its log and ends as it
# did: run-task.sh migrate, run-task.sh config check. What it needs to know comes from Terraform:
#   eval "$(terraform output -raw task_environment)"
# It has the settings of migrate: the database and Redis, but no files and no providers of messages.
set -eu

: "${AWS_REGION:?}" "${CLUSTER:?}" "${TASK_DEFINITION:?}" "${SUBNETS:?}" "${SECURITY_GROUPS:?}" "${LOG_GROUP:?}"
export AWS_REGION
[ $# -gt 0 ] || {
    echo "run-task.sh COMMAND [ARGUMENT…]" >&2
    exit 2
}

arguments=
for argument in "$@"; do
    case $argument in
        *[\"\\]*)
            echo "run-task.sh: arguments have neither quotation marks nor backslashes: $argument" >&2
            exit 2
            ;;
    esac
    arguments="$arguments${arguments:+,}\"$argument\""
done

task=$(aws ecs run-task --cluster "$CLUSTER" --task-definition "$TASK_DEFINITION" --launch-type FARGATE \
    --network-configuration "awsvpcConfiguration={subnets=[$SUBNETS],securityGroups=[$SECURITY_GROUPS],assignPublicIp=DISABLED}" \
    --overrides "{\"containerOverrides\":[{\"name\":\"migrate\",\"command\":[$arguments]}]}" \
    --query 'tasks[0].taskArn' --output text)
if [ -z "$task" ] || [ "$task" = None ]; then
    echo "run-task.sh: ECS started no task" >&2
    exit 1
fi
echo "Task $task runs: millrace $*" >&2

ask() {
    aws ecs describe-tasks --cluster "$CLUSTER" --tasks "$task" --query "$1" --output text
}

# However long a migration takes, it is waited for. Whoever stops waiting does not stop the task.
until [ "$(ask 'tasks[0].lastStatus')" = STOPPED ]; do
    sleep 5
done

aws logs get-log-events --log-group-name "$LOG_GROUP" --log-stream-name "migrate/migrate/${task##*/}" \
    --start-from-head --query 'events[].[message]' --output text || true

code=$(ask 'tasks[0].containers[0].exitCode')
case $code in
    0) exit 0 ;;
    None | '') echo "run-task.sh: the task did not start: $(ask 'tasks[0].stoppedReason')" >&2 ;;
    *) echo "run-task.sh: millrace $* ended with $code" >&2 ;;
esac
exit 1
