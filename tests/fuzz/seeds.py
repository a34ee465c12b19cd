"""
Writes the seeds of the fuzzers, tests/fuzz/corpus/NAME/*: one of each form
that a target takes.  Inputs that once crashed one are beside them, by hand.

usage: python3 tests/fuzz/seeds.py   (needs a C compiler, for the shared object)
"""

import os
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

SEEDS = {
    'routes': {
        'two': b'\x00/hello/bob\nGET /hello/(?<name>[^/]+)\nPOST /hello\n'
               b'\nGET|PUT /hello/b(o|a)b\n/x.*\n',
        'post': b'\x02/a/b/c\nPOST /a/(.*)\nGET /a/b/(?<rest>.+)\n\n/a/b/c?\n',
        'alternation': b'\x00/ab\n/a|/ab\n\n/a(b)?\n(?i)/AB\n',
        'table': b'\x01' + struct.pack('<IIIIHHI', 32, 1, 1, 3, 3, 6, 0)
                 + b'/f1/.*\0\0'
                 + struct.pack('<IIIIHHI', 24, 2, 1, 0, 0, 0, 1),
    },
    'control': {
        'attach': b'\x00' + struct.pack('<IIII', 0x43414146, 4, 1, 40)
                  + b'0.1.0'.ljust(32, b'\0') + struct.pack('<ii', 4711, 0),
        'text': b'\x03a b\n%25\xff',
        'encoded': b'\x03a%20b%0Ac%',
        'put': b'\x02' + struct.pack('<I', 1) + b's/5/listen'.ljust(40, b'\0'),
        'message': b'\x01' + struct.pack('<IIIIQiiIIIIIIQQQQ', 0x4d414146, 9,
                                         1, 5, 3, 17, 0, 0, 0, 0, 0, 0, 0, 0,
                                         0, 0, 0)
                   + b'hello'.ljust(64, b'\0') + b'1a2b3c4d'.ljust(12, b'\0')
                   + struct.pack('<I', 4) + b'text',
    },
    'settings': {
        'configuration': b'\x00functions /srv/functions\nstate /var/lib/faas\n'
                         b'user faas\ngroup 33\nlog_level 4\n'
                         b'scoreboard 67108864\nkv redis://127.0.0.1/0\n'
                         b'function hello\nmode oneshot\nmin 1\nmax 16\n'
                         b'queue 200\nqueue_timeout 2000\ntimeout 5000\n'
                         b'env LANG=C\nroutes /hello/\nshare orders%20w\n'
                         b'consume jobs%20batch=10\n'
                         b'schedule 0%203%20*%20*%20*\nend\n'
                         b'function *\nmax 64\nend\n',
        'told': b'\x01mode resident\nroutes GET%20/hello\ntimeout 5000\n'
                b'max 4\nconsume jobs%20batch=2\nidempotent 1\n',
        'descriptor': b'\x02\x01\x04oneshot\0GET /hello\nPOST /x\0'
                      b'@every 10s\0jobs batch=3\0005s\0',
        'services': b'\x03function hello\ntoken abc\nstate /var/lib/faas\n'
                    b'data /var/lib/faas/data/hello\nkv sqlite\n'
                    b'share orders w /var/lib/faas/shared/orders\n',
    },
    'events': {
        'cron': b'\x00*/5 0-6,22 1,15 jan-mar mon',
        'cron-gap': b'\x0c30 2 * * *',
        'every': b'\x00@every 1h30m',
        'schedule': b'\x010 3 * * * tz=Europe/Berlin overlap=queue '
                    b'catchup=all name=nightly attempts=3',
        'consume': b'\x02orders batch=10 wait=500ms attempts=5 retry=1s..5m '
                   b'parallel=2 lease=30s',
        'async': b'\x03attempts=3 age=6h keep=1d',
        'time': b'\x031m30s',
    },
    'redis': {
        'url': b'\x00redis://user:p%40ss@127.0.0.1:6380/3?prefix=app:&'
               b'timeout=500ms&wait=1&wait_timeout=2s',
        'unix': b'\x00unix:///run/redis.sock?db=1',
        'sentinel': b'\x00redis+sentinel://a:1,b:2/master/0?sentinel_user=x',
        'cluster': b'\x00rediss+cluster://[::1]:7000,h:7001?verify=ca&ca=/c',
        'moved': b'\x01-MOVED 3999 127.0.0.1:6381\r\n-ASK 1 [::1]:7000\r\n',
        'exec': b'\x01*3\r\n:1\r\n+OK\r\n-ERR x\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n',
        'resp3': b'\x01%1\r\n+a\r\n:1\r\n,1.5\r\n#t\r\n_\r\n(123\r\n',
    },
    'http': {
        'length': b'\x00\x03HTTP/1.1 200 OK\r\nContent-Length: 5\r\n'
                  b'X-A: b\r\n\r\nhello',
        'chunked': b'\x00\x00HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n'
                   b'\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n',
        'interim': b'\x00\x05HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No '
                   b'Content\r\nConnection: close\r\n\r\n',
        'head': b'\x02\x01HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n',
        'prefer': b'\x01respond-async, wait=10; x="a\\"b", foo',
    },
    'wire': {
        'frame': b'\x00' + struct.pack('<I', 5) + b'queue'
                 + struct.pack('<Iq', 8, 1000) + struct.pack('<I', 0),
        'head': b'\x00' + struct.pack('<IIQIi', 0x57414146, 0, 1, 2, 0),
        'json': b'\x01"a\\b\x01\xc3\xa9\xff\xf0\x9f\x98\x80',
        'document': b'\x02\x20\x03\x64Content-Type: text/plain\nX-A: b\n'
                    b'hello\xff',
    },
    'state': {
        'node': b'\x000123456789abcdef\n',
        'order': b'\x01hello\nhello\n\n_calls\n' + b'x' * 70 + b'\nlast',
        'page': b'\x02\x07\x03\x0a' + b'4f1c\nPOST"\\/fn/a?b=\xff\0' * 20,
        'escape': b'\x03\x0ca"b\\c\n\xff',
    },
    'request': {
        'get': b'\x00REQUEST_METHOD=GET\nREQUEST_URI=/hello?a=b%20c&header=x\n'
               b'SCRIPT_NAME=/hello\nPATH_INFO=\nQUERY_STRING=a=b%20c&header=x'
               b'\nHTTP_FAAS_TIMEOUT=1.5\nHTTP_X_TEST=1\n'
               b'FAAS_PARAMS=name=bob\n\n',
        'post': b'\x00REQUEST_METHOD=POST\nREQUEST_URI=/hello\n'
                b'CONTENT_LENGTH=5\nHTTP_X_BODY=1\nHTTP_FAAS_TIMEOUT=500ms\n'
                b'\nhello',
        'head': b'\x01REQUEST_METHOD=HEAD\nREQUEST_URI=/\nQUERY_STRING='
                b'header=a%0Ab\n\n',
    },
}

FUNCTION = '''
#include <faas.h>

static int
handler(faas_request_t *r)
{
    (void) r;
    return 0;
}

FAAS_FUNCTION(.handler = handler)
'''


def shared_object():
    with tempfile.TemporaryDirectory() as d:
        with open(f'{d}/f.c', 'w', encoding='utf-8') as f:
            f.write(FUNCTION)

        subprocess.run(['cc', '-Os', '-shared', '-fPIC', '-nostdlib', '-s',
                        '-Wl,-z,noseparate-code', '-Wl,-z,norelro',
                        '-Wl,--build-id=none',
                        f'-I{HERE}/../../worker/include', '-o', f'{d}/f.so',
                        f'{d}/f.c'], check=True)

        with open(f'{d}/f.so', 'rb') as f:
            return f.read()


def main():
    SEEDS['elf'] = {'function': shared_object(),
                    'name': b'hello@blue.so', 'sql': b'hello.orders.20-x.sql'}

    for name, seeds in SEEDS.items():
        os.makedirs(f'{HERE}/corpus/{name}', exist_ok=True)

        for seed, data in seeds.items():
            with open(f'{HERE}/corpus/{name}/{seed}', 'wb') as f:
                f.write(data)


if __name__ == '__main__':
    main()
