"""Our own contestants: hello as a function, resident and one-shot; its cold
starts, and the memory of an idle instance."""

import json
import os
import re
import shutil
import socket
import time

import contestants

STARTS = 200                    # of each kind, if the time allows
IDLE_MS = 20                    # idle_timeout where cold starts are measured
SETTLE = 0.005                  # s, before each of them
FOREIGN_PART = 0.1              # of the machine: more, and it is not quiet


class Function(contestants.Contestant):
    """An nginx with the module; every function of it is examples/hello."""

    path = '/fn/hello'
    modules = 'load_module %s/ngx_http_faas_module.so;' % contestants.BUILD
    http = '''faas_functions   %(dir)s/functions;
    faas_state       %(dir)s/state;
    faas_supervisor  %(build)s/faas-supervisor;
    %(settings)s'''
    server = '''location /fn/ {
            faas_pass;
        }
        location = /faas/ {
            faas_status;
        }'''
    settings = ''
    names = ('hello',)

    # 256 clients may wait for four instances
    settings_of_load = '''faas_function hello {
        mode %s;  min %d;  max %d;  queue 1024 timeout=10s;
    }'''

    def prepare(self):
        for path in ('ngx_http_faas_module.so', 'faas-supervisor',
                     'faas-zygote', 'examples/hello.so'):
            if not os.path.exists(os.path.join(contestants.BUILD, path)):
                raise contestants.Missing('%s is not built' % path)
        self.build = contestants.BUILD
        self.settings = self.settings       # for what http is filled with
        functions = os.path.join(self.dir, 'functions')
        os.mkdir(functions)
        for name in self.names:
            new = os.path.join(functions, '.new')
            shutil.copy(os.path.join(contestants.BUILD, 'examples/hello.so'),
                        new)
            os.chmod(new, 0o755)
            os.rename(new, os.path.join(functions, name + '.so'))

    def instances(self):
        """pids of all instances, by the name that they give themselves."""
        found = []
        for pid in self.group.pids():
            try:
                with open('/proc/%d/comm' % pid) as f:
                    if re.fullmatch(r'faas: \S+ #\d+', f.read().strip()):
                        found.append(pid)
            except OSError:
                pass
        return found

    def pss(self):
        """kB of each idle instance."""
        sizes = []
        for pid in self.instances():
            try:
                with open('/proc/%d/smaps_rollup' % pid) as f:
                    sizes += [int(line.split()[1]) for line in f
                              if line.startswith('Pss:')]
            except OSError:
                pass
        return sizes


class Resident(Function):
    settings = Function.settings_of_load % (
        'resident', contestants.INSTANCES, contestants.INSTANCES)


class Oneshot(Function):
    settings = Function.settings_of_load % (
        'oneshot', contestants.INSTANCES, contestants.INSTANCES)


class Cold(Function):
    """Two functions that are down again at once: of one the template stays,
    of the other nothing does."""

    names = ('hello', 'gone')
    settings = '''faas_function hello {
        min 0;  idle_timeout %dms;  template_timeout 1h;
    }
    faas_function gone {
        min 0;  idle_timeout %dms;  template_timeout %dms;
    }''' % (IDLE_MS, IDLE_MS, IDLE_MS)


class Wire:
    """One kept connection; times what it asks for."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        """The body of a 200, and the seconds until its last byte."""
        request = ('GET %s HTTP/1.1\r\nHost: localhost\r\n'
                   'Accept: application/json\r\n\r\n' % path).encode()
        start = time.perf_counter()
        self.socket.sendall(request)
        data = b''
        while True:
            more = self.socket.recv(65536)
            if not more:
                raise OSError('the connection was closed')
            data += more
            head, found, body = data.partition(b'\r\n\r\n')
            length = re.search(rb'(?i)\r\nContent-Length: *(\d+)', head)
            chunked = re.search(rb'(?i)\r\nTransfer-Encoding: *chunked', head)
            if found and (len(body) >= int(length.group(1)) if length else
                          chunked and body.endswith(b'\r\n0\r\n\r\n')):
                break
        seconds = time.perf_counter() - start
        if not head.startswith(b'HTTP/1.1 200'):
            raise OSError(head.partition(b'\r\n')[0].decode())
        if chunked:
            body = b''.join(body.split(b'\r\n')[1::2])
        return body.decode(), seconds


def quantile(values, q):
    values = sorted(values)
    return values[int((len(values) - 1) * q)]


def is_down(wire, name, with_template):
    """Nothing of the function is up but, or not even, its template."""
    for function in json.loads(wire.get('/faas/')[0])['functions']:
        if function['name'] == name:
            return (function['template'] == with_template
                    and sum(function['instances'].values()) == 0)
    return False


def cold_start(contestant, wire, name, with_template, end):
    """Seconds of one, and whether the machine was quiet (None: unknown); None
    when it does not get cold before the end."""
    while not is_down(wire, name, with_template):
        if time.monotonic() > end:
            return None
        time.sleep(SETTLE)
    begin, before = time.monotonic(), contestant.group.foreign_us()
    time.sleep(SETTLE)
    body, seconds = wire.get('/fn/' + name)
    if body != contestants.BODY:
        raise OSError('%s answered %r' % (name, body))
    if before is None:
        return seconds, None
    used = (contestant.group.foreign_us() - before) / 1e6
    length = (time.monotonic() - begin) * os.cpu_count()
    return seconds, used < FOREIGN_PART * length


def cold_starts(base, seconds, progress):
    """{kind: [(seconds, quiet), ...]}, in turn, for so long at most."""
    kinds = {'from a live template': ('hello', True),
             'from nothing': ('gone', False)}
    times = {kind: [] for kind in kinds}
    contestant = Cold('cold', base)
    try:
        contestant.start()
        wire = Wire(contestant.port)
        for name in contestant.names:
            wire.get('/fn/' + name)     # a template ends some time after use
        end = time.monotonic() + seconds
        while min(map(len, times.values())) < STARTS:
            for kind, (name, with_template) in kinds.items():
                taken = cold_start(contestant, wire, name,
                                   with_template, end)
                if taken is None:
                    progress('cold starts: out of time (%s)' % kind)
                    return times
                times[kind].append(taken)
    except (OSError, contestants.Missing, KeyError, ValueError) as e:
        progress('cold starts: %s' % e)
        for line in contestant.complaints()[-3:]:
            progress('cold starts: ' + line)
    finally:
        left = contestant.stop()
        if left:
            progress('cold: did not end by itself, killed: ' + ' '.join(left))
    return times
