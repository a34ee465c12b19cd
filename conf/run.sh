#!/bin/sh
# `make run`: nginx in the foreground with the examples as its functions.
#
# BUILD and PORT come from the Makefile.  All that it makes is in build/run;
# only when root runs it in a clone that nginx's workers cannot reach (below
# /root, say) do sockets and temporary files go to a directory below /tmp,
# which is removed at the end.

set -eu

build=$(cd "$BUILD" && pwd)
run=$build/run
state=$run
removed=

mkdir -p "$run/functions"

# installed as a new file and renamed, as a deploy should be; migrations
# before the functions that need them
for function in "$build"/examples/*.sql "$build"/examples/*.so; do
    name=$(basename "$function")
    if ! cmp -s "$function" "$run/functions/$name"; then
        cp "$function" "$run/functions/.$name.new"
        chmod 0644 "$run/functions/.$name.new"
        mv -f "$run/functions/.$name.new" "$run/functions/$name"
    fi
done

user=
if [ "$(id -u)" = 0 ]; then
    user='user www-data;'
    if ! setpriv --reuid www-data --regid www-data --clear-groups \
         test -x "$run"
    then
        state=$(mktemp -d "${TMPDIR:-/tmp}/faas-run.XXXXXX")
        chmod 0755 "$state"
        removed=$state
    fi
fi

mkdir -p "$state/tmp"

sed -e "s|@LOAD@|load_module $build/ngx_http_faas_module.so;|" \
    -e "s|@USER@|$user|" -e "s|@RUN@|$run|" -e "s|@STATE@|$state|" \
    -e "s|@BUILD@|$build|" -e "s|@PORT@|$PORT|" \
    "$(dirname "$0")/run.conf" > "$run/nginx.conf"

nginx=$(command -v nginx || echo /usr/sbin/nginx)
stopping=

stop()
{
    stopping=yes
    kill -QUIT "$pid" 2>/dev/null || true
}

"$nginx" -p "$run" -e stderr -c "$run/nginx.conf" &
pid=$!

trap stop INT TERM HUP

# it accepts when the functions are there
i=0
while ! curl -s -o /dev/null "http://127.0.0.1:$PORT/faas/"; do
    i=$((i + 1))
    if [ "$stopping" ] || ! kill -0 "$pid" 2>/dev/null || [ $i = 300 ]; then
        break
    fi
    sleep 0.1
done

if [ -z "$stopping" ] && kill -0 "$pid" 2>/dev/null; then
    cat <<END

    curl http://127.0.0.1:$PORT/fn/hello
    curl http://127.0.0.1:$PORT/fn/hello/you
    curl --data-binary @README.md http://127.0.0.1:$PORT/fn/markdown
    curl --data-binary @README.md http://127.0.0.1:$PORT/fn/wordcount?top=3
    curl --data-binary @README.md http://127.0.0.1:$PORT/fn/echo
    curl --data-binary @PICTURE.jpg -o small.jpg \\
         'http://127.0.0.1:$PORT/fn/thumbnail?w=200'
    curl -d 'It was nice here.' http://127.0.0.1:$PORT/fn/guestbook/ann
    curl http://127.0.0.1:$PORT/fn/guestbook
    curl -d '3 apples' http://127.0.0.1:$PORT/fn/orders
    curl -i -H 'Prefer: respond-async' http://127.0.0.1:$PORT/fn/hello
    curl http://127.0.0.1:$PORT/faas/

    cc -shared -fPIC -I worker/include -o hello.so hello.c
    cp hello.so $run/functions/

Ctrl-C ends it.

END
fi

# a signal ends the wait, not nginx
status=0
while kill -0 "$pid" 2>/dev/null; do
    status=0
    wait "$pid" || status=$?
done

# the supervisor is the last to go, and takes its socket with it
i=0
while [ -S "$state/faas/control" ] && [ $i -lt 50 ]; do
    i=$((i + 1))
    sleep 0.1
done

[ -z "$removed" ] || rm -rf "$removed"

[ "$stopping" ] && exit 0
exit "$status"
