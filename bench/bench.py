"""Runs the benchmark and prints one table; `make bench` calls it.

All contestants are up at the same time, idle but one.  A round gives each a
run at each number of connections, in turn, so that what the machine does over
minutes falls on all alike; a cell of the table is the median of its rounds.

Environment: BENCH_SECONDS (about, for all), BENCH_ROUNDS, BENCH_ONLY (names),
BENCH_KEEP=1 (leaves the directory), FAAS_BUILD, NGINX.
"""

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import contestants
import functions

CONNECTIONS = (1, 32, 256)
WARM_MS = 150
OVERHEAD = 0.12                 # s, of a run beside what it measures
COLD_PART = 0.2                 # of BENCH_SECONDS
QUIET_SLICES = 20               # of a cell: one second
QUIET_ENOUGH = 0.25             # part of a run's slices, of the cold starts

LEGEND = """
%d rounds.  quiet: part of the 50 ms slices without a stall of the machine or
a stranger on it; '-' where it cannot be told.  req/s, CPU: of the quiet slices
of all rounds; with fewer than %d, medians of the fuller halves of the rounds,
marked by '*'.  p50, p99: medians of the rounds that were quiet for a quarter,
of all if none was.  p99 all: of all slices.  CPU: user and system of nginx and
all that stands behind it, from %s.
hung: no answer 3 s after the run."""

HERE = os.path.dirname(os.path.abspath(__file__))

CONTESTANTS = (
    ('return-200', contestants.Return200),
    ('floor', contestants.Floor),
    ('resident', functions.Resident),
    ('oneshot', functions.Oneshot),
    ('php-fpm', contestants.PhpFpm),
    ('fcgiwrap', contestants.Fcgiwrap),
)


def load(contestant, connections, ms):
    """One run of the load generator; its JSON, with cpu per request added."""
    group = contestant.group
    argv = [os.path.join(contestants.BUILD, 'bench/load'),
            '-p', str(contestant.port), '-u', contestant.path,
            '-e', contestants.BODY, '-c', str(connections),
            '-d', str(ms), '-w', str(WARM_MS)]
    if group.usage_file:
        argv += ['-a', group.usage_file, '-A', group.machine_file]
    before = group.cpu_us()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, timeout=ms / 1000 + 30)
    used = group.cpu_us() - before
    if done.returncode:
        raise RuntimeError('load: exit %d' % done.returncode)
    run = json.loads(done.stdout)
    quiet = run['quiet']
    if not group.usage_file:            # no figures for the slices
        quiet = dict(cpu_us=used, requests=run['answered'])
        run['undisturbed'] = None
    run['cpu_per_request'] = (quiet['cpu_us'] / quiet['requests']
                              if quiet['requests'] else None)
    return run


def rounds(up, seconds, count):
    """{(connections, name): [run, ...]}, interleaved."""
    names = list(up)
    cells = len(names) * len(CONNECTIONS)
    ms = int(1000 * (seconds / (cells * count) - OVERHEAD)) - WARM_MS
    ms = max(ms // 50, 4) * 50
    runs = {}
    for r in range(count):
        progress('round %d of %d, %d runs of %.2f s'
                 % (r + 1, count, cells, ms / 1000))
        for connections in CONNECTIONS:
            for i in range(len(names)):
                name = names[(i + r) % len(names)]
                run = load(up[name], connections, ms)
                runs.setdefault((connections, name), []).append(run)
    return runs


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def mean(values):
    values = [v for v in values if v is not None]
    return statistics.mean(values) if values else None


def quiet_rounds(cell):
    """The runs of a cell that had enough quiet slices, if there are any."""
    return [r for r in cell if (r['undisturbed'] or 0) >= QUIET_ENOUGH] or cell


def pooled(cell):
    """Requests per second and CPU us per request: of the quiet slices of all
    rounds together, or, where those are too few, medians of the rounds."""
    slices = [s for r in cell for s in r['slices'] if s[0]]
    requests = sum(s[1] for s in slices)
    if (len(slices) >= QUIET_SLICES and requests
            and cell[0]['undisturbed'] is not None):
        return (1e6 * requests / sum(s[2] for s in slices),
                sum(s[3] for s in slices) / requests, len(slices))
    return (median(r['quiet']['requests'] / r['quiet']['seconds']
                   if r['quiet']['seconds'] else None for r in cell),
            median(r['cpu_per_request'] for r in cell), 0)


def summary(runs):
    """One row for each cell."""
    rows = []
    for (connections, name), cell in sorted(
            runs.items(), key=lambda item: item[0][0]):
        rate, cpu, slices = pooled(cell)
        used = quiet_rounds(cell)
        rows.append({
            'connections': connections,
            'contestant': name,
            'rounds': len(cell),
            'rate': rate,
            'p50_us': median(r['quiet']['p50'] for r in used),
            'p99_us': median(r['quiet']['p99'] for r in used),
            'p99_all_us': median(r['all']['p99'] for r in cell),
            'cpu_us': cpu,
            'errors': sum(sum(r['errors'].values()) for r in cell),
            'hung': sum(r['hung'] for r in cell),
            'quiet': mean(r['undisturbed'] for r in cell),
            'slices': slices,
        })
    floors = {row['connections']: row for row in rows
              if row['contestant'] == 'floor'}
    for row in rows:
        floor = floors.get(row['connections'])
        # only like is compared with like
        row['to_floor'] = (
            row['cpu_us'] / floor['cpu_us']
            if floor and row['cpu_us'] and floor['cpu_us']
            and bool(row['slices']) == bool(floor['slices']) else None)
    return rows


def number(value, digits=0):
    return '-' if value is None else '%.*f' % (digits, value)


def table(rows, order):
    head = ('conns', 'contestant', 'req/s', 'p50 us', 'p99 us', 'p99 all',
            'CPU us/req', 'to floor', 'errors', 'hung', 'quiet')
    lines = [head]
    rows = sorted(rows, key=lambda r: (r['connections'],
                                       order.index(r['contestant'])))
    for r in rows:
        lines.append((
            str(r['connections']), r['contestant'], number(r['rate']),
            number(r['p50_us']), number(r['p99_us']), number(r['p99_all_us']),
            number(r['cpu_us'], 1), number(r['to_floor'], 2),
            str(r['errors']), str(r['hung']),
            '-' if r['quiet'] is None else '%d%%%s' % (
                100 * r['quiet'], ' ' if r['slices'] else '*')))
    print_columns(lines)


def print_columns(lines, left=1, grouped=True):
    """Aligned; the column `left` to the left; groups by the first column."""
    widths = [max(len(line[i]) for line in lines)
              for i in range(len(lines[0]))]
    for n, line in enumerate(lines):
        if n == 1 or (n > 1 and grouped and line[0] != lines[n - 1][0]):
            print()
        print('  '.join(cell.ljust(w) if i == left else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(line, widths))))


def progress(text):
    print('bench: ' + text, file=sys.stderr, flush=True)


def machine():
    model = ''
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.partition(':')[2].strip()
                break
    nginx = subprocess.run([contestants.NGINX, '-v'], stderr=subprocess.PIPE)
    return '%d x %s, Linux %s, %s' % (
        os.cpu_count(), model, platform.release(),
        nginx.stderr.decode().strip().rpartition(': ')[2])


def start(base, only):
    """The contestants that could be started, and why others could not."""
    up, absent = {}, {}
    for name, kind in CONTESTANTS:
        if only and name not in only:
            continue
        contestant = kind(name, base)
        try:
            contestant.start()
            up[name] = contestant
        except contestants.Missing as e:
            absent[name] = str(e)
            for line in contestant.complaints()[-3:]:
                progress('%s: %s' % (name, line))
            contestant.stop()
        except BaseException:
            contestant.stop()
            stop(up)
            raise
    return up, absent


def stop(up):
    for name, contestant in up.items():
        left = contestant.stop()
        if left:
            progress('%s: did not end by itself, killed: %s'
                     % (name, ' '.join(left)))


def save(result):
    directory = os.path.join(HERE, 'results')
    path = os.path.join(directory, time.strftime('%Y%m%d-%H%M%S.json'))
    try:
        os.makedirs(directory, exist_ok=True)
        with open(path, 'w') as f:
            json.dump(result, f)
        progress('all figures: ' + os.path.relpath(path))
    except OSError as e:
        progress('the figures are not saved: %s' % e)


def accounting_of(up):
    return ', '.join(sorted({c.group.kind for c in up.values()}))


def measure(base, seconds, count, only):
    result = {'machine': machine(), 'time': time.strftime('%F %T %z')}

    cold_seconds = seconds * COLD_PART if not only or 'cold' in only else 0
    names = [name for name in only if name != 'cold']

    if names or not only:
        up, absent = start(base, names)
        try:
            result['accounting'] = accounting_of(up)
            runs = rounds(up, seconds - cold_seconds, count) if up else {}
            result['pss'] = {name: c.pss() for name, c in up.items()
                             if isinstance(c, functions.Function)}
            result['complaints'] = {name: c.complaints()
                                    for name, c in up.items()}
        finally:
            stop(up)
        result['rows'] = summary(runs)
        result['absent'] = absent
        result['runs'] = [dict(run, contestant=name) for (_, name), cell
                          in runs.items() for run in cell]

    if cold_seconds:
        progress('cold starts, at most %d s' % cold_seconds)
        result['cold'] = functions.cold_starts(base, cold_seconds, progress)

    return result


def cold_line(what, starts):
    """Of the quiet ones, as with slices: of all if those are too few."""
    known = [quiet for _, quiet in starts if quiet is not None]
    part = mean(known)
    times = [seconds for seconds, quiet in starts
             if quiet or part is None or part < QUIET_ENOUGH]
    return (what, str(len(starts))) + tuple(
        '%.2f' % (1000 * functions.quantile(times, q)) for q in (.5, .99, 1)
    ) + ('-' if part is None else '%d%%' % (100 * part),)


def report(result):
    print(result['machine'])
    print()

    if result.get('rows'):
        table(result['rows'], [name for name, _ in CONTESTANTS])
        print()
    for name, why in result.get('absent', {}).items():
        print('%s did not take part: %s' % (name, why))

    lines = [('cold start of hello', 'n', 'p50 ms', 'p99 ms', 'max ms',
              'quiet')]
    for what, starts in result.get('cold', {}).items():
        if starts:
            lines.append(cold_line(what, starts))
    if len(lines) > 1:
        print_columns(lines, left=0, grouped=False)
        print()

    for name, sizes in result.get('pss', {}).items():
        if sizes:
            print('%s: %d idle instances, PSS %d kB each (median), %d kB '
                  'at most' % (name, len(sizes), statistics.median(sizes),
                               max(sizes)))

    for name, lines in result.get('complaints', {}).items():
        if lines:
            print('%s: nginx logged %d errors, the last: %s'
                  % (name, len(lines), lines[-1]))

    if result.get('rows'):
        print(LEGEND % (result['rows'][0]['rounds'], QUIET_SLICES,
                        result['accounting']))


def main():
    seconds = float(os.environ.get('BENCH_SECONDS') or 300)
    count = int(os.environ.get('BENCH_ROUNDS') or 10)
    only = (os.environ.get('BENCH_ONLY') or '').split()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # nginx's workers and functions are other users
    base = tempfile.mkdtemp(prefix='faas-bench.')
    os.chmod(base, 0o755)

    try:
        result = measure(base, seconds, count, only)
    finally:
        if os.environ.get('BENCH_KEEP'):
            progress('left: ' + base)
        else:
            shutil.rmtree(base, ignore_errors=True)

    save(result)
    report(result)


if __name__ == '__main__':
    main()
