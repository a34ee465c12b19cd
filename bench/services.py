"""Backend services as a function has them, beside the raw engines: key-value,
queues end to end, timers.  `make bench-services`."""

import http.client
import json
import os
import shutil
import statistics
import sys
import tempfile
import time

import contestants
import functions

ROUNDS = int(os.environ.get('BENCH_ROUNDS') or 5)
OPERATIONS = {'get': 20000, 'set': 2000}
SENDS = 400
PAUSE_MS = 3
BURST = 2000
TICKS = 15


class Services(functions.Function):
    """An nginx with the module and bench/services.so, one function for each
    durability."""

    path = '/fn/hello'
    names = ('hello',)
    settings = '''%(engines)s
    faas_function full {
        timeout 10m;  env OUT=%(dir)s/out;  env ENGINE=%(engine)s;
        consume bench;  schedule "@every 1s" attempts=1;
    }
    faas_function normal {
        timeout 10m;  durability normal;
        env OUT=%(dir)s/out;  env ENGINE=%(engine)s;
    }'''

    def __init__(self, name, base):
        super().__init__(name, base)
        self.engine = name

    def prepare(self):
        if self.engine == 'redis':
            program = shutil.which('redis-server')
            if not program:
                raise contestants.Missing('redis-server is not installed')
            path = os.path.join(self.dir, 'redis.sock')
            self.spawn([program, '--port', '0', '--unixsocket', path,
                        '--unixsocketperm', '777', '--dir', self.dir,
                        '--save', '', '--appendonly', 'yes'])
            contestants.until(lambda: os.path.exists(path), 'redis-server')
            url = 'redis+unix://' + path
        else:
            url = 'sqlite'
        self.engines = 'faas_kv %s; faas_queue %s;' % (url, url)
        self.settings = self.settings % vars(self)
        os.chmod(self.dir, 0o755)
        open(self.out(), 'w').close()
        os.chmod(self.out(), 0o666)
        super().prepare()
        for name in ('full', 'normal'):
            self.drop(name)

    def drop(self, name):
        target = os.path.join(self.dir, 'functions', name + '.so')
        shutil.copy(os.path.join(contestants.BUILD, 'bench/services.so'),
                    target + '.new')
        os.chmod(target + '.new', 0o755)
        os.rename(target + '.new', target)

    def out(self):
        return os.path.join(self.dir, 'out')

    def ask(self, name, query):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=600)
        c.request('GET', '/fn/%s?%s' % (name, query))
        r = c.getresponse()
        body = r.read()
        c.close()
        if r.status != 200:
            raise contestants.Missing('%s?%s: %d %r' % (name, query, r.status,
                                                        body[:100]))
        return json.loads(body)

    def lines(self, kind):
        with open(self.out()) as f:
            return [float(line.split()[1]) for line in f
                    if line.startswith(kind)]


def key_value(host, durability):
    host.ask(durability, 'what=kv&op=set&n=1000')
    for op in ('set', 'get'):
        rounds = [host.ask(durability, 'what=kv&op=%s&n=%d'
                           % (op, OPERATIONS[op])) for _ in range(ROUNDS)]
        middle = {side: {key: statistics.median(r[side][key] for r in rounds)
                         for key in rounds[0][side]}
                  for side in ('faas', 'raw')}
        ratio = statistics.median(r['raw']['per_s'] / r['faas']['per_s']
                                  for r in rounds)
        for side in ('faas', 'raw'):
            print('%-7s %-7s %-4s %-5s %9.0f %9.1f %9.1f %8s'
                  % (host.engine, durability, op, side, middle[side]['per_s'],
                     middle[side]['p50_us'], middle[side]['p99_us'],
                     '%.2f' % ratio if side == 'faas' else ''))


def percentiles(values):
    values = sorted(values)
    return (len(values), values[len(values) // 2],
            values[min(len(values) - 1, len(values) * 99 // 100)])


def queues(host):
    sent = host.ask('full', 'what=send&n=%d&pause_ms=%d' % (SENDS, PAUSE_MS))
    contestants.until(lambda: len(host.lines('queue')) >= SENDS, 'consumed')
    n, p50, p99 = percentiles(v / 1e6 for v in host.lines('queue'))
    print('%-7s send, then another after %d ms: %.0f us p50, %.0f us p99 '
          'until it is durable; %.2f ms p50, %.2f ms p99 until the consumer '
          'has it (%d)' % (host.engine, PAUSE_MS, sent['send']['p50_us'],
                           sent['send']['p99_us'], p50, p99, n))
    start = time.monotonic()
    burst = host.ask('full', 'what=send&n=%d' % BURST)
    end = start + 60
    while len(host.lines('queue')) < SENDS + BURST:
        if time.monotonic() > end:
            raise contestants.Missing('not all were consumed')
        time.sleep(0.01)
    print('%-7s one sender without a pause: %.0f a second; %d consumed one by '
          'one within %.2f s of the first'
          % (host.engine, burst['send']['per_s'], BURST,
             time.monotonic() - start))


def timers(host):
    end = time.monotonic() + 3 * TICKS
    while len(host.lines('timer')) < TICKS and time.monotonic() < end:
        time.sleep(0.1)
    n, p50, p99 = percentiles(host.lines('timer')[1:])
    print('%-7s a timer each second: %.2f ms p50, %.2f ms at most after it '
          'was due (%d)' % (host.engine, p50, max(host.lines('timer')[1:]), n))


def main():
    base = tempfile.mkdtemp(prefix='faas-bench.')
    os.chmod(base, 0o755)
    print('%-7s %-7s %-4s %-5s %9s %9s %9s %8s'
          % ('engine', 'durable', 'op', 'side', 'per s', 'p50 us', 'p99 us',
             'to raw'))
    try:
        for engine in ('sqlite', 'redis'):
            host = Services(engine, base)
            try:
                host.start()
                for name in ('full', 'normal'):
                    contestants.until(
                        lambda: host.ask(name, 'what=send&n=1') or True, name)
                    if engine == 'sqlite' or name == 'full':
                        key_value(host, name)
                contestants.until(lambda: len(host.lines('queue')) >= 2,
                                  'consumed')
                open(host.out(), 'w').close()
                queues(host)
                timers(host)
            except contestants.Missing as e:
                print('%s: %s' % (engine, e))
                for line in host.complaints()[-5:]:
                    print('    ' + line)
            finally:
                left = host.stop()
                if left:
                    print('left behind: %s' % left)
    finally:
        if os.environ.get('BENCH_KEEP'):
            print(base)
        else:
            shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
