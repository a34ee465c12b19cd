#!/bin/sh
# usage: conf/deps.sh PACKAGE...
#
# Installs those of Debian's packages that are missing.  Asks nothing and
# starts no service: while apt runs, a policy-rc.d that says so is in place,
# unless the machine has one of its own.

set -eu

missing=
for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null \
             || true)
    [ "$status" = installed ] || missing="$missing $package"
done

[ "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing, and this is no Debian to install them on:$missing" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "missing packages; as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "installing:$missing"

$as_root sh -eu -s -- $missing <<'END'
    policy=/usr/sbin/policy-rc.d
    cleanup=:
    if [ ! -e $policy ] && [ ! -L $policy ]; then
        cleanup="rm -f $policy"
        trap '$cleanup' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 0755 $policy
    fi

    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update </dev/null \
        || echo "apt-get update failed: trying with the lists there are" >&2
    apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold install "$@" </dev/null
END
