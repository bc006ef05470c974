#!/usr/bin/env python3
"""Load for `qvl serve`: throughput, waiting times, fairness, memory, and what slow, idle and vanishing clients do to it.

    bench/load.py mixed  [--clients 64] [--seconds 600]        requests of all kinds, errors among them
    bench/load.py decode [--clients 1,8] [--tokens 128]        text only: tokens a second, and the ratio
    bench/load.py crowd  [--connections 1000] [--rounds 5]     a stream alone, beside idle and beside slow connections
    bench/load.py leave  [--rounds 20]                         clients that leave at each stage, and kill -9 of clients
    bench/load.py again  [--file demo/shapes.png] [--rounds 5] the same question about the same picture or clip once more

Each takes --serve "build/qvl serve -m MODEL" (starts that server on a free port and ends it) or --url of one that runs,
with --pid for its memory; --key; --json FILE for the figures. It speaks only to loopback addresses: load is for
servers of one's own. Ends with 1 where a goal is missed (the lines that begin with "not ok").

What is measured:
    wait         from the request's first byte to its answer's first one (of a stream: the first text), 429 and what
                 Retry-After asks for included
    fair share   the mean wait of all requests of the same kind, without those that were 429: what each would wait if
                 all that are in were served alike
    gap          between two pieces of text of one stream
    memory       RSS of the server: median of the last tenth of the time against that of the second fifth
    CPU          the server's, all threads, prompts included: feels neighbours less than time does
    steady rate  tokens between the moment when all clients have begun to read and that when the first one ends
"""
import argparse
import base64
import collections
import ipaddress
import json
import mimetypes
import os
import pathlib
import random
import re
import resource
import select
import shlex
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

DEMO = pathlib.Path(__file__).resolve().parents[1] / "demo"
now = time.monotonic


# ---- HTTP ----------------------------------------------------------------------------------------

class Server:
    """Where it is, who asks, and how to look into it."""

    def __init__(self, url, key=None, pid=None):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.name = parts.hostname, parts.port or 80, parts.netloc
        self.key, self.pid = key, pid
        address = self.host if ":" in self.host else socket.gethostbyname(self.host)
        if parts.scheme != "http" or not ipaddress.ip_address(address).is_loopback:
            raise SystemExit(f"load.py: {url}: only http:// and loopback addresses; load is for servers of one's own")

    def metrics(self, connection=None):
        """All samples of /metrics by name; those with labels are added up."""
        values = collections.Counter()
        for line in (connection or Connection(self)).ask("GET", "/metrics").body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name and not name.startswith("#"):
                values[name.partition("{")[0]] += float(value)
        return values

    def busy(self, connection=None):
        """Requests begun or waiting, and bytes of keys and values that belong to them."""
        values = self.metrics(connection)
        requests = values["qvl_requests_running"] + values["qvl_requests_waiting"]
        return int(requests), int(values["qvl_kv_bytes"] - values["qvl_prefix_cache_bytes"])

    def rss(self):
        if not self.pid:
            return 0
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            # Not what is mapped from the model's file: the kernel takes and gives that as it likes.
            return sum(int(n) for n in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", file.read(), re.M)) * 1024


    def cpu_s(self):
        """Processors' time so far, of all its threads."""
        if not self.pid:
            return float("nan")
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


Reply = collections.namedtuple("Reply", "status headers body")


class Connection:
    """One connection, kept for as many requests as the server allows. `source`: the loopback address it comes from."""

    def __init__(self, server, source=None, timeout=900):
        self.server, self.source, self.timeout = server, source, timeout
        self.socket = self.file = None

    def open(self):
        if not self.socket:
            self.socket = socket.create_connection((self.server.host, self.server.port), self.timeout,
                                                   (self.source, 0) if self.source else None)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = self.socket.makefile("rb")
        return self.socket

    def close(self):
        if self.socket:
            self.file.close()
            self.socket.close()
            self.socket = self.file = None

    def head(self, method, path, n_body):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.server.name}"]
        if self.server.key:
            lines.append(f"Authorization: Bearer {self.server.key}")
        if n_body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {n_body}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def send(self, method, path, body=None):
        """Sends a request, reads the reply's head: status and headers."""
        data = self.head(method, path, None if body is None else len(body)) + (body or b"")
        for is_kept in (self.socket is not None, False):
            try:
                self.open().sendall(data)
                first = self.file.readline()
                if first:
                    break
            except (BrokenPipeError, ConnectionResetError):
                if not is_kept:
                    raise
            self.close()  # the server ended a kept connection in the same moment: once more
            if not is_kept:
                raise ConnectionError("closed without a reply")
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(first.split()[1]), headers

    def pieces(self, headers):
        """The body, piece by piece as it comes."""
        if headers.get("transfer-encoding") == "chunked":
            while n := int(self.file.readline() or b"-1", 16):
                if n < 0:
                    raise ConnectionError("the stream was cut")
                yield self.file.read(n)
                self.file.readline()
            self.file.readline()
        elif "content-length" in headers:
            yield self.file.read(int(headers["content-length"]))
        else:
            while data := self.file.read1(65536):
                yield data
        if headers.get("connection", "").lower() == "close" or "content-length" not in headers and \
                "transfer-encoding" not in headers:
            self.close()

    def ask(self, method, path, body=None):
        status, headers = self.send(method, path, body)
        return Reply(status, headers, b"".join(self.pieces(headers)))

    def events(self, headers):
        """Of a stream of events: (when, JSON) of each; (when, None) for [DONE]."""
        rest = b""
        for piece in self.pieces(headers):
            when = now()
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                if event.startswith(b"data: "):
                    yield when, None if event == b"data: [DONE]" else json.loads(event[6:])


class Served:
    """A server started for the occasion."""

    def __init__(self, command, key):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        environment = dict(os.environ, **({"QVL_API_KEY": key} if key else {}))
        self.process = subprocess.Popen(shlex.split(command) + ["--port", str(port)], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, env=environment)
        self.server = Server(f"http://127.0.0.1:{port}", key, self.process.pid)
        deadline = now() + 120
        while True:
            try:
                if Connection(self.server).ask("GET", "/ready").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or now() > deadline:
                self.log.seek(0)
                raise SystemExit(f"load.py: the server does not start: {self.log.read()[-2000:].decode()}")
            time.sleep(0.05)

    def close(self):
        """Its exit code; 0 is what a server that was told to end should return."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -9


# ---- figures -------------------------------------------------------------------------------------

def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p / 100 * len(ordered)))] if ordered else float("nan")


def spread(values):
    """In milliseconds, of seconds."""
    return {name: round(1000 * value, 2) for name, value in
            [("p50", percentile(values, 50)), ("p90", percentile(values, 90)), ("p99", percentile(values, 99)),
             ("max", max(values, default=float("nan")))]}


class Report:
    def __init__(self, what):
        self.figures = {"mode": what}
        self.n_bad = 0

    def table(self, name, columns, rows):
        self.figures[name] = [dict(zip(columns, row)) for row in rows]
        cells = [[str(c) for c in columns]] + [[f"{c:,.1f}" if isinstance(c, float) else str(c) for c in row]
                                               for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        print(f"\n{name}")
        for row in cells:
            print("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))

    def goal(self, name, is_met, text):
        self.figures.setdefault("goals", {})[name] = {"met": bool(is_met), "found": text}
        self.n_bad += not is_met
        print(f"{'ok' if is_met else 'not ok'} {name}: {text}", flush=True)


class Watcher:
    """A process of its own that asks for /health ten times a second, in turn on a kept and on a new connection, and looks
    at the server's memory once a second: so that the load's own work does not count as the server's delay."""

    def __init__(self, server):
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.ours.close()
            try:
                theirs.sendall(json.dumps(self.watch(server, theirs)).encode())
            finally:
                os._exit(0)
        theirs.close()

    @staticmethod
    def watch(server, until):
        begin, kept = now(), Connection(server, timeout=30)
        found = {"health": [], "rss": [], "kv": [], "failed": 0}
        while not select.select([until], [], [], 0.1)[0]:
            connection = kept if len(found["health"]) % 2 else Connection(server, timeout=30)
            at = now()
            try:
                found["failed"] += connection.ask("GET", "/health").status != 200
                found["health"].append(now() - at)
                if len(found["rss"]) < at - begin:
                    found["rss"].append(server.rss())
                    found["kv"].append(server.busy(kept)[1])
            except (OSError, ValueError):
                found["failed"] += 1
                kept.close()
            if connection is not kept:
                connection.close()
        until.recv(1)  # left unread, it would reset what is sent now
        return found

    def end(self):
        self.ours.sendall(b"x")
        found = b"".join(iter(lambda: self.ours.recv(1 << 20), b""))
        os.waitpid(self.pid, 0)
        return json.loads(found)


def tell_memory(report, rss):
    """Drift, once caches have had time to fill."""
    n = len(rss)
    if n < 20 or not rss[0]:
        return
    early, late = statistics.median(rss[n // 5:2 * n // 5]), statistics.median(rss[-(n // 10):])
    report.figures["rss_mib"] = {"start": rss[0] >> 20, "early": early / 2 ** 20, "late": late / 2 ** 20,
                                 "most": max(rss) >> 20}
    found = (f"{early / 2 ** 20:.1f} MiB, at the end {late / 2 ** 20:.1f} ({100 * (late / early - 1):+.2f} %), "
             f"most {max(rss) / 2 ** 20:.1f}")
    if n < 180:
        print(f"memory, too short to be judged: {found}")
    else:
        # 4 MiB are what the allocator's arenas move by; a request that left 100 bytes would be above it in ten minutes.
        report.goal("memory drifts by 1 % (or 4 MiB) at most", late <= early + max(early / 100, 2 ** 22), found)


# ---- requests ------------------------------------------------------------------------------------

def data_uri(name, media_type):
    return f"data:{media_type};base64," + base64.b64encode((DEMO / name).read_bytes()).decode()


def chat(content, **fields):
    return dict({"model": "demo", "messages": [{"role": "user", "content": content}], "temperature": 0}, **fields)


def with_media(kind, name, media_type, question):
    return [{"type": kind, kind: {"url": data_uri(name, media_type)}}, {"type": "text", "text": question}]


Request = collections.namedtuple("Request", "kind method path body status")


def requests_of_all_kinds():
    """(how often, request) of what a mixed load is made of. Equal requests must get equal answers."""
    form = with_media("image_url", "receipt.png", "image/png", "Return the fields as JSON.")
    shapes = with_media("image_url", "shapes.png", "image/png", "What do you see?")
    clip = with_media("video_url", "clip-2.mp4", "video/mp4", "When does the orange cross appear?")
    schema = {"type": "json_schema", "json_schema": {"name": "form", "strict": True, "schema": {
        "type": "object", "additionalProperties": False, "required": ["no", "date", "ok"],
        "properties": {"no": {"type": "string", "maxLength": 12}, "date": {"type": "string", "format": "date"},
                       "ok": {"type": "boolean"}}}}}
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    completions = "/v1/chat/completions"

    def post(kind, body, status=200, path=completions):
        return Request(kind, "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), status)

    requests = []
    for i in range(4):
        text = f"{['Read', 'Tell', 'Count', 'Name'][i]} the shapes once more. " * (1 + 4 * i)
        requests += [
            (8, post("text, streamed", chat(text, max_tokens=48, **streamed))),
            (4, post("text", chat(text, max_tokens=32))),
            (2, post("sampled, streamed", chat(text, max_tokens=48, **dict(streamed, temperature=1, seed=i)))),
            (2, post("schema", chat(f"Form {i}: return the fields as JSON.", max_tokens=96, response_format=schema)))]
    requests += [
        (12, post("picture, streamed", chat(shapes, max_tokens=48, **streamed))),
        (6, post("picture", chat(shapes, max_tokens=48))),
        (6, post("picture and schema", chat(form, max_tokens=96, response_format=schema))),
        (4, post("clip, streamed", chat(clip, max_tokens=32, **streamed))),
        (2, post("ollama", {"model": "demo", "stream": False, "options": {"temperature": 0, "num_predict": 24},
                            "messages": [{"role": "user", "content": "hello"}]}, path="/api/chat")),
        (2, post("responses", {"model": "demo", "input": "hello", "temperature": 0, "max_output_tokens": 24},
                 path="/v1/responses")),
        (2, Request("models", "GET", "/v1/models", None, 200)),
        (2, post("tokenize", {"prompt": "hello"}, path="/tokenize")),
        (2, post("error: JSON", b'{"messages": [', 400)),
        (2, post("error: type", chat("x", temperature="hot"), 400)),
        (2, post("error: role", {"messages": [{"role": "king", "content": "x"}]}, 400)),
        (2, post("error: schema", chat("x", response_format={"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"not": {}}}}), 400)),
        (2, post("error: picture", chat([{"type": "image_url", "image_url": {
            "url": "data:image/png;base64,AAAA"}}]), 422)),
        (2, post("error: URL", chat([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]), 400)),
        (2, Request("error: route", "GET", "/v1/nothing", None, 404)),
        (2, Request("error: method", "GET", completions, None, 405))]
    return requests


def text_of(answer):
    """What was said, of a whole reply in any API's form."""
    if "choices" in answer:
        return answer["choices"][0]["message"]["content"]
    if "output" in answer:
        return answer["output"][0]["content"][0]["text"]
    return answer["message"]["content"] if "message" in answer else None


class Exchange:
    """A request, asked until it is not refused with 429, and what came of it."""

    def __init__(self, connection, request):
        self.request, self.n_refused = request, 0
        self.begin = now()
        while True:
            self.asked = now()
            status, headers = connection.send(request.method, request.path, request.body)
            if status != 429:
                break
            b"".join(connection.pieces(headers))
            self.n_refused += 1
            time.sleep(float(headers["retry-after"]))
        self.status = status
        self.times, self.text, self.n_token, self.fault = [], None, 0, None
        if headers.get("content-type", "").startswith("text/event-stream"):
            self.read_events(connection, headers)
            self.first = self.times[0] if self.times else now()
        else:
            self.first = now()
            body = b"".join(connection.pieces(headers))
            if status == 200 and request.method == "POST":
                self.text = text_of(json.loads(body))
        self.end = now()
        if status != request.status:
            self.fault = f"status {status} instead of {request.status}"

    def read_events(self, connection, headers):
        texts, is_done = [], False
        for when, event in connection.events(headers):
            if event is None:
                is_done = True
            elif "error" in event:
                self.fault = f"in the stream: {event['error'].get('message')}"
            else:
                if event.get("usage"):
                    self.n_token = event["usage"]["completion_tokens"]
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    self.times.append(when)
                    texts.append(event["choices"][0]["delta"]["content"])
        self.text = "".join(texts)
        if not is_done:
            self.fault = self.fault or "the stream has no [DONE]"

    @property
    def wait(self):
        return self.first - self.begin

    @property
    def queued(self):
        return self.first - self.asked

    @property
    def gaps(self):
        return [b - a for a, b in zip(self.times, self.times[1:])]


def in_threads(n, work):
    """work(i) in n threads; whatever it raises is raised here."""
    raised = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:  # pylint: disable=broad-except
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def connect(server, i_client):
    """From a loopback address of its own for each client, where there are such: so the server sees as many clients."""
    is_ipv4 = ":" not in server.host
    return Connection(server, f"127.1.{i_client // 250}.{1 + i_client % 250}" if is_ipv4 else None)


# ---- mixed ---------------------------------------------------------------------------------------

def mixed(server, arguments, report):
    weights, requests = zip(*requests_of_all_kinds())
    exchanges = [[] for _ in range(arguments.clients)]
    faults, answers, lock = collections.Counter(), {}, threading.Lock()
    watcher = Watcher(server)
    begin = now()

    def client(i):
        rng = random.Random(arguments.seed * 1000 + i)
        connection = connect(server, i)
        while now() < begin + arguments.seconds:
            request = rng.choices(requests, weights)[0]
            try:
                exchange = Exchange(connection, request)
            except (OSError, ValueError, KeyError, IndexError) as error:
                connection.close()
                with lock:
                    faults[f"{request.kind}: {type(error).__name__}: {error}"] += 1
                continue
            exchanges[i].append(exchange)
            with lock:
                if exchange.fault:
                    faults[f"{request.kind}: {exchange.fault}"] += 1
                elif answers.setdefault(request, exchange.text) != exchange.text:
                    faults[f"{request.kind}: another answer to the same request"] += 1
            if rng.random() < 0.05:
                leave_early(server, rng.choice(requests), rng)

    in_threads(arguments.clients, client)
    elapsed = now() - begin
    watched = watcher.end()
    tell_mixed(report, exchanges, elapsed, watched)
    report.goal("no error but 429", not faults, "; ".join(f"{n} x {text}" for text, n in faults.most_common(8)) or "none")
    report.goal("equal requests get equal answers", not any("another answer" in text for text in faults),
                f"{len(answers)} different requests")
    tell_memory(report, watched["rss"])
    requests_left, kv_left = wait_until_idle(server)[1:]
    report.goal("nothing is left", requests_left == kv_left == 0, f"{requests_left} requests, {kv_left} bytes of keys and values")


def leave_early(server, request, rng):
    """Asks and is gone before the answer ends."""
    connection = Connection(server)
    try:
        connection.open().sendall(connection.head(request.method, request.path, len(request.body or b"")) +
                                  (request.body or b""))
        time.sleep(rng.random() * 0.3)
    except OSError:
        pass
    connection.close()


def tell_mixed(report, exchanges, elapsed, watched):
    every = [e for client in exchanges for e in client]
    kinds = collections.defaultdict(list)
    for exchange in every:
        kinds[exchange.request.kind].append(exchange)
    mean = {kind: statistics.mean(e.queued for e in those) for kind, those in kinds.items()}
    report.table("waits, ms", ["kind", "requests", "p50", "p90", "p99", "max", "fair share", "max / fair share"],
                 [[kind, len(those), *spread([e.wait for e in those]).values(), 1000 * mean[kind],
                   max(e.queued for e in those) / mean[kind]] for kind, those in sorted(kinds.items())])
    gaps = [gap for e in every for gap in e.gaps]
    n_token = sum(e.n_token for e in every)
    report.table("all", ["", "per second", "p50", "p90", "p99", "max"], [
        ["requests, wait in ms", len(every) / elapsed, *spread([e.wait for e in every]).values()],
        ["tokens of streams, gap in ms", n_token / elapsed, *spread(gaps).values()],
        ["/health, ms", len(watched["health"]) / elapsed, *spread(watched["health"]).values()]])
    status = collections.Counter(e.status for e in every)
    status[429] += sum(e.n_refused for e in every)
    report.table("status", ["status", "replies"], [[str(code), n] for code, n in sorted(status.items()) if n])
    p99 = 1000 * percentile(watched["health"], 99)
    report.goal("/health: p99 at most 100 ms", p99 <= 100 and not watched["failed"],
                f"{p99:.1f} ms, {watched['failed']} failed")
    # Relative to its kind's mean, since a clip is more work than a word. Each client sends many requests one after
    # another, so its own mean says whether it is treated like the others, the worst one whether anybody was forgotten.
    model = [[e for e in client if mean[e.request.kind] > 0.05] for client in exchanges]
    worst = max((e.queued / mean[e.request.kind] for client in model for e in client), default=0)
    slowest = max((statistics.mean(e.queued / mean[e.request.kind] for e in client) for client in model if client), default=0)
    report.goal("no client waits more than 3 x the fair share", slowest <= 3,
                f"a client's mean at most {slowest:.2f} x, a single request's wait at most {worst:.2f} x")


# ---- decode --------------------------------------------------------------------------------------

def decode(server, arguments, report):
    counts = [int(n) for n in arguments.clients.split(",")]
    rates = {n: [] for n in counts}
    waits, gaps, whole, cpu = ({n: [] for n in counts} for _ in range(4))
    warm = json.dumps(chat("Hello!", max_tokens=8)).encode()  # once: from here on the weights are in memory
    Exchange(Connection(server), Request("decode", "POST", "/v1/chat/completions", warm, 200))
    watcher = Watcher(server)
    serial = 0
    for _ in range(arguments.rounds):
        for n in counts:
            exchanges, barrier, begin = [None] * n, threading.Barrier(n), serial

            def client(i, exchanges=exchanges, barrier=barrier, begin=begin):
                # Unlike at its beginning, so that nothing is known from an earlier one; hot, so that it neither ends
                # nor repeats itself.
                text = f"{begin + i} {arguments.seed}: " + "one two three four five six seven " * (arguments.prompt_tokens // 7)
                body = chat(text, temperature=1, seed=begin + i, max_tokens=arguments.tokens, stream=True, ignore_eos=True,
                            stream_options={"include_usage": True})
                connection = connect(server, i)
                connection.open()
                barrier.wait()
                exchanges[i] = Exchange(connection, Request("decode", "POST", "/v1/chat/completions",
                                                            json.dumps(body).encode(), 200))
                connection.close()

            cpu_s = server.cpu_s()
            in_threads(n, client)
            cpu[n].append(1000 * (server.cpu_s() - cpu_s) / max(1, sum(e.n_token for e in exchanges)))
            serial += n
            bad = [e.fault for e in exchanges if e.fault or not e.times]
            if bad:
                raise SystemExit(f"load.py: {bad[0]}")
            from_s, to_s = max(e.times[0] for e in exchanges), min(e.times[-1] for e in exchanges)
            # A token that ends inside a character gives no text of its own: as many tokens as its stream had to a piece.
            tokens = sum(sum(from_s < t <= to_s for t in e.times) * e.n_token / len(e.times) for e in exchanges)
            rates[n].append(tokens / (to_s - from_s))
            whole[n].append(sum(e.n_token for e in exchanges) / (max(e.end for e in exchanges) -
                                                                 min(e.begin for e in exchanges)))
            waits[n] += [e.wait for e in exchanges]
            gaps[n] += [gap for e in exchanges for gap in e.gaps]
    watched = watcher.end()
    median = {n: statistics.median(rates[n]) for n in counts}
    report.table(f"decode, {arguments.tokens} tokens each, prompt of about {arguments.prompt_tokens}",
                 ["clients", "steady tok/s", "of one", "whole tok/s", "CPU ms/tok", "TTFT p50 ms", "p90", "p99", "gap p50 ms",
                  "p90", "p99"],
                 [[str(n), median[n], median[n] / median[counts[0]], statistics.median(whole[n]), statistics.median(cpu[n]),
                   *list(spread(waits[n]).values())[:3], *list(spread(gaps[n]).values())[:3]] for n in counts])
    report.figures["rounds"] = {str(n): [round(r, 2) for r in rates[n]] for n in counts}
    p99 = 1000 * percentile(watched["health"], 99)
    report.goal("/health: p99 at most 100 ms", p99 <= 100, f"{p99:.1f} ms")
    if 1 in counts and 8 in counts:
        ratio = statistics.median(b / a for a, b in zip(rates[1], rates[8]))
        report.goal("8 clients get 2.5 x the tokens of one", ratio >= 2.5, f"{ratio:.2f} x")


# ---- crowd ---------------------------------------------------------------------------------------

class Crowd:
    """Connections held by a process of their own. idle: have asked once and say nothing more. slow: half of them send their
    header, half their body, a byte at a time. What the server closes is opened again."""

    def __init__(self, server, n, kind):
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.ours.close()
            try:
                self.hold(server, n, kind, theirs)
            finally:
                os._exit(0)
        theirs.close()
        if self.ours.recv(1) != b"x":
            raise SystemExit("load.py: the connections cannot be opened")

    @staticmethod
    def begin(server, i, kind):
        connection = Connection(server)
        s = connection.open()
        if kind == "idle":
            connection.ask("GET", "/health")
        elif i % 2:
            s.sendall(connection.head("POST", "/v1/chat/completions", 100000))
        s.setblocking(False)
        return connection

    @staticmethod
    def trickle(s, i, n_sent, kind):
        if kind == "slow":
            s.send(b" " if i % 2 else b"GET / HTTP/1.1\r\nX: "[n_sent:n_sent + 1] or b"x")
        if s.recv(4096) == b"":
            raise ConnectionError

    @classmethod
    def hold(cls, server, n, kind, until):
        crowd = [cls.begin(server, i, kind) for i in range(n)]
        begun = [0] * n  # in which turn
        turn = 0
        until.sendall(b"x")
        while not select.select([until], [], [], 0.02)[0]:  # a fiftieth of them at a time: each once a second
            for i in range(turn % 50, n, 50):
                try:
                    if crowd[i] is None:
                        crowd[i], begun[i] = cls.begin(server, i, kind), turn
                    cls.trickle(crowd[i].socket, i, (turn - begun[i]) // 50, kind)
                except BlockingIOError:
                    pass
                except OSError:
                    if crowd[i]:
                        crowd[i].close()
                    crowd[i] = None
            turn += 1

    def close(self):
        self.ours.sendall(b"x")
        os.waitpid(self.pid, 0)


def crowd(server, arguments, report):
    def stream_of(n_token):
        body = chat("Tell me more.", temperature=1, seed=7, max_tokens=n_token, ignore_eos=True, stream=True)
        return Request("stream", "POST", "/v1/chat/completions", json.dumps(body).encode(), 200)

    Exchange(Connection(server), stream_of(50))  # once to warm up, once to see how many tokens some seconds are
    rate = 50 / (lambda e: e.end - e.first)(Exchange(Connection(server), stream_of(50)))
    n_token = max(50, min(5000, round(arguments.stream_seconds * rate)))
    request = stream_of(n_token)
    results = {kind: {"alone": [], "beside": [], "all alone": [], "all beside": []} for kind in ("idle", "slow")}
    texts = set()

    def stream(into, every):
        exchange = Exchange(Connection(server), request)
        if exchange.fault:
            raise SystemExit(f"load.py: {exchange.fault}")
        texts.add(exchange.text)
        into.append(statistics.mean(exchange.gaps))
        every += exchange.gaps

    for kind, found in results.items():
        for _ in range(arguments.rounds):
            stream(found["alone"], found["all alone"])
            held = Crowd(server, arguments.connections, kind)
            stream(found["beside"], found["all beside"])
            held.close()
    report.table(f"a stream of {n_token} tokens beside {arguments.connections} connections: gaps, ms",
                 ["", "mean", "p50", "p90", "p99", "max"],
                 [[f"{kind}: {side}", 1000 * statistics.median(found[side]), *spread(found[f"all {side}"]).values()]
                  for kind, found in results.items() for side in ("alone", "beside")])
    for kind, found in results.items():
        ratio = statistics.median(b / a for a, b in zip(found["alone"], found["beside"]))
        report.goal(f"{arguments.connections} {kind} connections disturb a stream by 10 % at most", ratio <= 1.1,
                    f"{100 * (ratio - 1):+.1f} %")
    report.goal("the answer is the same", len(texts) == 1, f"{len(texts)} texts")


# ---- leave ---------------------------------------------------------------------------------------

def wait_until_idle(server, seconds=10):
    """(seconds until nothing was begun, waiting or in use; what is left)."""
    connection, begin = Connection(server), now()
    while True:
        left = server.busy(connection)
        took = now() - begin
        if left == (0, 0) or took > seconds:
            return took, *left
        time.sleep(0.01)


STAGES = ["connected", "in the header", "in the body", "picture", "clip", "prompt", "first text", "streaming", "schema", "whole reply"]


def go_to_stage(server, stage):
    """Brings a request as far as the stage says."""
    long_text = chat("word " * 1500, max_tokens=64, stream=True)
    endless = dict(max_tokens=4000, ignore_eos=True, temperature=1, seed=1, stream=True)
    body = {"picture": chat(with_media("image_url", "shapes.png", "image/png", "What do you see?"), **endless),
            "clip": chat(with_media("video_url", "clip-2.mp4", "video/mp4", "What happens?"), **endless),
            "prompt": long_text, "whole reply": chat("x", **dict(endless, stream=False)),
            "schema": chat("JSON", **endless, response_format={"type": "json_object"})}.get(stage, chat("x", **endless))
    data = json.dumps(body).encode()
    connection = Connection(server)
    s = connection.open()
    head = connection.head("POST", "/v1/chat/completions", len(data))
    if stage == "in the header":
        s.sendall(head[:len(head) // 2])
    elif stage == "in the body":
        s.sendall(head + data[:len(data) // 2])
    elif stage in ("first text", "streaming"):
        for i, _ in enumerate(connection.events(connection.send("POST", "/v1/chat/completions", data)[1])):
            if i >= (1 if stage == "first text" else 12):
                break
    elif stage != "connected":
        s.sendall(head + data)
        time.sleep(random.random() * 0.2)
    return connection


def go(server, stage, how):
    """A client in a process of its own that leaves at the stage: by closing, by a reset, or killed. Returns when it is
    gone."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            random.seed(os.getpid())
            connection = go_to_stage(server, stage)
            if how == "reset":
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how != "kill":
                connection.close()
            os.write(theirs, b"x")
            time.sleep(60 if how == "kill" else 0)
        finally:
            os._exit(0)
    os.close(theirs)
    if stage == "any moment":
        time.sleep(random.random() * 0.5)
    else:
        os.read(ours, 1)
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)


def leave(server, arguments, report):
    random.seed(arguments.seed)
    rows, slowest, left = [], 0, (0, 0)
    for how in ("close", "reset", "kill"):
        for stage in STAGES + (["any moment"] if how == "kill" else []):
            times = []
            for _ in range(arguments.rounds if stage == "any moment" else max(1, arguments.rounds // 4)):
                go(server, stage, how)
                took, *left = wait_until_idle(server)
                times.append(took)
                if any(left):
                    break
            rows.append([f"{how}: {stage}", len(times), 1000 * statistics.median(times), 1000 * max(times)])
            slowest = max(slowest, max(times))
    report.table("until nothing is in use any more", ["left by", "times", "median ms", "max ms"], rows)
    report.goal("all is freed within a second", slowest <= 1 and not any(left), f"{1000 * slowest:.0f} ms at most")
    leave_others_alone(server, arguments, report)


def leave_others_alone(server, arguments, report):
    """Three clients ask on while others leave beside them: not a byte of their answers may change."""
    requests = [Request("beside", "POST", "/v1/chat/completions", json.dumps(
        chat(f"Tell me more, {i}.", temperature=1, seed=i, max_tokens=48, ignore_eos=True, stream=True)).encode(), 200)
        for i in range(3)]
    truth = [Exchange(Connection(server), request).text for request in requests]
    gone, wrong, n_answer = threading.Event(), [], [0]

    def beside(i):
        connection = Connection(server)
        while not gone.is_set():
            exchange = Exchange(connection, requests[i])
            n_answer[0] += 1
            if exchange.fault or exchange.text != truth[i]:
                wrong.append(exchange.fault or exchange.text)

    def leavers():
        try:
            for _ in range(arguments.rounds):
                # A program of its own: forking beside threads is not safe.
                child = subprocess.Popen([sys.executable, __file__, "leave", "--one", random.choice(STAGES), "--url",
                                          f"http://{server.name}"] +
                                         (["--key", server.key] if server.key else []))
                time.sleep(random.random())
                child.kill()
                child.wait()
        finally:
            gone.set()

    in_threads(4, lambda i: beside(i) if i < 3 else leavers())
    report.goal("others do not notice", not wrong, f"{len(wrong)} of {n_answer[0]} answers are other ones")
    took, *left = wait_until_idle(server)
    report.goal("and nothing is left", not any(left), f"{left[0]} requests, {left[1]} bytes, after {1000 * took:.0f} ms")


# ---- main ----------------------------------------------------------------------------------------

# ---- again ---------------------------------------------------------------------------------------

def looking_ms(server, file, question):
    """What vision, and what the prompt, cost of one question about a file, in milliseconds."""
    media_type = mimetypes.guess_type(file)[0] or "image/jpeg"
    kind = "video_url" if media_type.startswith("video/") else "image_url"
    uri = f"data:{media_type};base64," + base64.b64encode(pathlib.Path(file).read_bytes()).decode()
    body = chat([{"type": kind, kind: {"url": uri}}, {"type": "text", "text": question}], max_tokens=4)
    reply = Connection(server).ask("POST", "/v1/chat/completions", json.dumps(body).encode())
    answer = json.loads(reply.body)
    if reply.status != 200:
        raise SystemExit(f"load.py: {answer['error']['message']}")
    return answer["timings"]["vision_ms"], answer["timings"]["prefill_ms"], answer["usage"]["prompt_tokens"]


def again(server, arguments, report):
    """Each round on a server that has seen nothing: a first question, the same one once more, and another one."""
    rows, share = [], []
    for i in range(arguments.rounds):
        served = Served(arguments.serve, arguments.key) if arguments.serve and i else None
        here = served.server if served else server
        if not arguments.serve and i:
            raise SystemExit("load.py: more than one round needs --serve: the first question must be new to a server")
        times = [looking_ms(here, arguments.file, q) for q in ("What is this?", "What is this?", "Which colours?")]
        if served:
            served.close()
        rows.append([i + 1, times[0][2]] + [ms for vision, prefill, _ in times for ms in (vision, prefill)])
        share.append(sum(times[1][:2]) / sum(times[0][:2]))
    report.table("milliseconds", ["round", "prompt tokens", "vision", "prefill", "again: vision", "prefill",
                                  "another question: vision", "prefill"], rows)
    report.goal("the same question once more costs at most 1 % of vision and prompt", statistics.median(share) <= 0.01,
                f"{100 * statistics.median(share):.2f} %, median")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)

    def mode(name, function, **settings):
        sub = modes.add_parser(name)
        sub.set_defaults(function=function)
        sub.add_argument("--url", default="http://127.0.0.1:8080", help="of a server that runs (%(default)s)")
        sub.add_argument("--serve", metavar="COMMAND", help='starts this server instead: "build/qvl serve -m MODEL"')
        sub.add_argument("--pid", type=int, help="of the server that runs: its memory is watched")
        sub.add_argument("--key", default=os.environ.get("QVL_API_KEY"), help="API key (QVL_API_KEY)")
        sub.add_argument("--json", metavar="FILE", help="writes all figures there")
        sub.add_argument("--seed", type=int, default=1, help="of the order of requests (%(default)s)")
        for option, (default, text) in settings.items():
            sub.add_argument("--" + option.replace("_", "-"), type=type(default), default=default, help=f"{text} (%(default)s)")
        return sub

    mode("mixed", mixed, clients=(64, "clients that ask without a pause"), seconds=(600.0, "for how long"))
    mode("decode", decode, clients=("1,8", "numbers of clients, in turn"), tokens=(128, "of each answer"),
         rounds=(5, "of each number"), prompt_tokens=(35, "of each prompt, about"))
    mode("crowd", crowd, connections=(1000, "beside the stream"), rounds=(5, "alone and beside, of each kind"),
         stream_seconds=(4.0, "about, of each stream"))
    mode("leave", leave, rounds=(20, "kills at any moment; a quarter of it at each stage")).add_argument(
        "--one", choices=STAGES, help=argparse.SUPPRESS)
    mode("again", again, file=(str(DEMO / "shapes.png"), "picture or clip"), rounds=(5, "each with a server of its own"))
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setswitchinterval(0.0005)
    served = Served(arguments.serve, arguments.key) if arguments.serve else None
    server = served.server if served else Server(arguments.url, arguments.key, arguments.pid)
    if arguments.mode == "leave" and arguments.one:  # of leave_others_alone
        go_to_stage(server, arguments.one)
        time.sleep(60)
        return 0
    report = Report(arguments.mode)
    try:
        arguments.function(server, arguments, report)
    except ConnectionRefusedError:
        raise SystemExit(f"load.py: nothing listens at {server.name}") from None
    finally:
        code = served.close() if served else 0
    if served:
        report.goal("the server ends when told to", code == 0, f"exit code {code}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(report.figures, indent=1) + "\n", encoding="utf-8")
    return 1 if report.n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
