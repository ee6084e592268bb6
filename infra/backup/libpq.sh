# shellcheck shell=sh
# What PostgreSQL's programs need to trust a server as Millrace does: MILLRACE_CA (PEM, or a file of it), else the
# system's authorities.
case $DATABASE_URL in
    *sslmode=verify-*)
        case ${MILLRACE_CA:-} in
            -----BEGIN*)
                authorities=$(mktemp)
                trap 'rm -f "$authorities"' EXIT
                printf '%s\n' "$MILLRACE_CA" >"$authorities"
                ;;
            *) authorities=${MILLRACE_CA:-/etc/ssl/certs/ca-certificates.crt} ;;
        esac
        export PGSSLROOTCERT="${PGSSLROOTCERT:-$authorities}"
        ;;
esac
