"""Who is measured: each an nginx of its own with the same settings, and what
stands behind it."""

import glob
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

import accounting

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get('FAAS_BUILD')
                        or os.path.join(HERE, '../build'))
NGINX = os.environ.get('NGINX') or shutil.which('nginx') or '/usr/sbin/nginx'
BODY = 'hello, world\n'
INSTANCES = 4
STARTUP = 15

CONF = '''
%(modules)s
%(user)s
worker_processes  2;
pid               %(dir)s/nginx.pid;
error_log         %(dir)s/error.log warn;
daemon            off;

events {
    worker_connections  2048;
}

http {
    access_log           off;
    default_type         text/plain;
    keepalive_requests   1000000000;
    keepalive_timeout    1h;
    client_body_temp_path  %(dir)s/body;
    proxy_temp_path        %(dir)s/proxy;
    fastcgi_temp_path      %(dir)s/fastcgi;
    uwsgi_temp_path        %(dir)s/uwsgi;
    scgi_temp_path         %(dir)s/scgi;

    %(http)s

    server {
        listen  127.0.0.1:%(port)d reuseport backlog=1024;

        %(server)s
    }
}
'''

# what Debian's fastcgi_params holds
PARAMS = '''
            fastcgi_param  QUERY_STRING       $query_string;
            fastcgi_param  REQUEST_METHOD     $request_method;
            fastcgi_param  CONTENT_TYPE       $content_type;
            fastcgi_param  CONTENT_LENGTH     $content_length;
            fastcgi_param  SCRIPT_NAME        $fastcgi_script_name;
            fastcgi_param  REQUEST_URI        $request_uri;
            fastcgi_param  DOCUMENT_URI       $document_uri;
            fastcgi_param  DOCUMENT_ROOT      $document_root;
            fastcgi_param  SERVER_PROTOCOL    $server_protocol;
            fastcgi_param  REQUEST_SCHEME     $scheme;
            fastcgi_param  GATEWAY_INTERFACE  CGI/1.1;
            fastcgi_param  SERVER_SOFTWARE    nginx/$nginx_version;
            fastcgi_param  REMOTE_ADDR        $remote_addr;
            fastcgi_param  REMOTE_PORT        $remote_port;
            fastcgi_param  SERVER_ADDR        $server_addr;
            fastcgi_param  SERVER_PORT        $server_port;
            fastcgi_param  SERVER_NAME        $server_name;
            fastcgi_param  REDIRECT_STATUS    200;
'''


class Missing(Exception):
    """The contestant cannot take part; says why."""


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def until(condition, what):
    end = time.monotonic() + STARTUP
    while not condition():
        if time.monotonic() > end:
            raise Missing('%s: not within %d s' % (what, STARTUP))
        time.sleep(0.01)


def account_of_nginx():
    """The user and group that nginx's workers run as when root starts it."""
    try:
        pwd.getpwnam('www-data')
        return 'www-data'
    except KeyError:
        return 'nobody'


class Contestant:
    """One of them: start(), path to ask for, cpu accounting, stop()."""

    path = '/'
    modules = ''
    http = ''
    server = ''

    def __init__(self, name, base):
        self.name = name
        self.dir = os.path.join(base, name)
        self.port = free_port()
        self.group = None
        self.processes = []

    def prepare(self):
        """Starts what stands behind nginx."""

    def is_ready(self):
        """Answers rightly, asked in the way the load asks."""
        try:
            c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=5)
            c.request('GET', self.path)
            r = c.getresponse()
            right = r.status == 200 and r.read().decode() == BODY
            c.close()
            return right
        except OSError:
            return False

    def spawn(self, argv, **more):
        log = open(os.path.join(self.dir, 'log'), 'ab')
        try:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, preexec_fn=self.group.enter,
                                 start_new_session=True, **more)
        except OSError as e:
            raise Missing('%s: %s' % (argv[0], e.strerror))
        finally:
            log.close()
        self.processes.append(p)
        return p

    def start(self):
        os.mkdir(self.dir)
        self.group = accounting.create(self.name)
        self.prepare()
        conf = os.path.join(self.dir, 'nginx.conf')
        root = os.geteuid() == 0
        with open(conf, 'w') as f:
            f.write(CONF % {
                'modules': self.modules, 'http': self.http % vars(self),
                'server': self.server % vars(self), 'port': self.port,
                'dir': self.dir,
                'user': 'user %s;' % account_of_nginx() if root else ''})
        self.spawn([NGINX, '-c', conf, '-p', self.dir, '-e',
                    os.path.join(self.dir, 'error.log')])
        until(self.is_ready, self.name)
        self.group.settled()

    def stop(self):
        """Ends everything; the names of what did not go by itself."""
        if self.group is None:
            return []
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.processes:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        left = accounting.sweep(self.group)
        self.group.close()
        self.group = None
        return left

    def complaints(self):
        """What nginx logged as an error or worse."""
        try:
            with open(os.path.join(self.dir, 'error.log')) as f:
                return [line.strip() for line in f
                        if any('[%s]' % level in line for level in
                               ('error', 'crit', 'alert', 'emerg'))]
        except OSError:
            return []


class Return200(Contestant):
    """nginx alone: what HTTP costs."""

    server = '''location / {
            return 200 "hello, world\\n";
        }'''


class Floor(Contestant):
    """Stock fastcgi_pass with kept connections to the barest responder."""

    http = '''upstream floor {
        %(servers)s
        keepalive  256;
    }'''
    server = '''location / {
            fastcgi_pass       floor;
            fastcgi_keep_conn  on;
''' + PARAMS + '        }'

    def prepare(self):
        sockets = [os.path.join(self.dir, '%d.sock' % i)
                   for i in range(INSTANCES)]
        self.servers = ' '.join('server unix:%s;' % s for s in sockets)
        for s in sockets:
            self.spawn([os.path.join(BUILD, 'bench/floor'), s])
        until(lambda: all(os.path.exists(s) for s in sockets), 'floor')


class PhpFpm(Contestant):
    """Debian's php-fpm; a connection kept would occupy one of its children,
    so none is, as everybody runs it."""

    server = '''location / {
            fastcgi_pass       unix:%(dir)s/php.sock;
            fastcgi_param  SCRIPT_FILENAME    %(dir)s/hello.php;
''' + PARAMS + '        }'

    def prepare(self):
        programs = sorted(glob.glob('/usr/sbin/php-fpm*'))
        if not programs:
            raise Missing('php-fpm is not installed')
        shutil.copy(os.path.join(HERE, 'hello.php'), self.dir)
        conf = os.path.join(self.dir, 'php-fpm.conf')
        owner = ('user = %s\ngroup = %s\n' % ((account_of_nginx(),) * 2)
                 if os.geteuid() == 0 else '')
        with open(conf, 'w') as f:
            f.write('[global]\nerror_log = %s/php.log\ndaemonize = no\n'
                    '[hello]\n%slisten = %s/php.sock\nlisten.mode = 0666\n'
                    'listen.backlog = 1024\npm = static\n'
                    'pm.max_children = %d\npm.max_requests = 0\n'
                    % (self.dir, owner, self.dir, INSTANCES))
        self.spawn([programs[-1], '-F', '-y', conf])
        until(lambda: os.path.exists(self.dir + '/php.sock'), 'php-fpm')


class Fcgiwrap(Contestant):
    """Debian's fcgiwrap with a CGI program: a process for each request."""

    server = '''location / {
            fastcgi_pass       unix:%(dir)s/wrap.sock;
            fastcgi_param  SCRIPT_FILENAME    %(cgi)s;
''' + PARAMS + '        }'

    def prepare(self):
        program = shutil.which('fcgiwrap') or '/usr/sbin/fcgiwrap'
        if not os.path.exists(program):
            raise Missing('fcgiwrap is not installed')
        self.cgi = os.path.join(self.dir, 'hello.cgi')
        shutil.copy(os.path.join(BUILD, 'bench/hello.cgi'), self.cgi)
        os.chmod(self.cgi, 0o755)
        path = os.path.join(self.dir, 'wrap.sock')
        self.spawn([program, '-c', str(INSTANCES), '-s', 'unix:' + path],
                   umask=0)
        until(lambda: os.path.exists(path), 'fcgiwrap')

    def stop(self):
        # its children do not end with it
        if self.processes:
            os.killpg(self.processes[0].pid, signal.SIGTERM)
        return super().stop()
