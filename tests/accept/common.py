"""What the acceptance scripts share: the release binary, a daemon in a folder of its own, a client that asks it, and the lines that are printed."""
import ipaddress, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target")), "release", "windrose")
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CAA": 257, "IXFR": 251, "AXFR": 252, "TYPE65280": 65280, "TYPE43": 43, "TYPE65": 65, "TYPE255": 255}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS", 23: "BADCOOKIE"}
SETTINGS = '[server]\nlisten = ["127.0.0.1:0"]\n\n[control]\nlisten = ""\n'


# --- a daemon in a folder of its own, and a client ---------------------------------------------------------------------------

class Daemon:
    def __init__(self, files, before=()):
        self.folder = tempfile.mkdtemp(prefix="windrose-")
        os.mkdir(os.path.join(self.folder, "zones"))
        for path, text in {"windrose.toml": SETTINGS, **files}.items(): self.write(path, text)
        started = time.monotonic()
        self.log = open(os.path.join(self.folder, "log"), "w+b")
        self.process = subprocess.Popen([*before, BINARY, "serve"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.addresses = []
        for line in self.process.stdout:
            if line.startswith("listening on "):
                host, port = line.split()[2].rsplit(":", 1)
                self.addresses.append((host.strip("[]"), int(port)))
            if line.startswith("ready"): break
        else: raise RuntimeError("serve ended: " + self.told())
        self.address, self.seconds_to_ready = self.addresses[0], time.monotonic() - started

    def write(self, path, what):
        draft = os.path.join(self.folder, "draft~")
        with open(draft, "wb") as file: file.write(what if isinstance(what, bytes) else what.encode())
        os.rename(draft, os.path.join(self.folder, path))

    def told(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as file: return file.read()

    def reload(self):
        """What the log says of it; the line with `reload` is the last of it."""
        before = len(self.told()); self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: re.search(r"reload.*\n", self.told()[before:]), "the end of a reload", 60)
        return self.told()[before:]

    def stop(self):
        if self.process.poll() is None: self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30); self.process.stdout.close(); self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def __enter__(self): return self

    def __exit__(self, *_):
        if self.process.poll() is None: self.process.kill(); self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end: raise RuntimeError(f"in vain until {what}")
        time.sleep(0.005)


def name_octets(name): return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def query(identity, name, rtype="A", flags=0x0100, rclass=1, subnet=None, edns=False, version=0, do=False, opt=b""):
    """`subnet` is sent as a client subnet option; `opt` are the octets of options as they are."""
    if subnet is not None:
        network = ipaddress.ip_network(subnet); octets = network.network_address.packed[:(network.prefixlen + 7) // 8]
        opt = struct.pack(">HHHBB", 8, 4 + len(octets), 1 if network.version == 4 else 2, network.prefixlen, 0) + octets
    has_opt = edns or do or version or subnet is not None or opt
    octets = struct.pack(">HHHHHH", identity, flags, 1, 0, 0, int(bool(has_opt))) + name_octets(name) + struct.pack(">HH", TYPES[rtype], rclass)
    return octets + (b"\0" + struct.pack(">HHBBHH", 41, 1232, 0, version, 0x8000 * do, len(opt)) + opt if has_opt else b"")


def read_name(octets, at):
    labels, end = [], None
    while octets[at]:
        if octets[at] >= 0xC0:
            end, at = end or at + 2, (octets[at] & 0x3F) << 8 | octets[at + 1]
        else: labels.append(octets[at + 1:at + 1 + octets[at]].decode("latin-1").lower()); at += 1 + octets[at]
    return ".".join(labels) + ".", end or at + 1


def read(octets):
    """A response: its code with flags, then the records of each section as text, and what the OPT record says."""
    identity, flags, *counts = struct.unpack_from(">HHHHHH", octets); at = 12
    for _ in range(counts[0]): at = read_name(octets, at)[1] + 4
    sections, rcode, edns = [], flags & 15, None
    for count in counts[1:]:
        records = []
        for _ in range(count):
            owner, at = read_name(octets, at); rtype, rclass, ttl, length = struct.unpack_from(">HHIH", octets, at); at += 10
            data, end = octets[at:at + length], at + length
            if rtype == 41: rcode |= ttl >> 24 << 4; edns = (ttl >> 16 & 255, bool(ttl & 0x8000), data)
            elif rtype in (1, 28): records.append(f"{owner} {ttl} {ipaddress.ip_address(data)}")
            elif rtype in (2, 5): records.append(f"{owner} {ttl} {read_name(octets, at)[0]}")
            elif rtype == 15: records.append(f"{owner} {ttl} {data[0] << 8 | data[1]} {read_name(octets, at + 2)[0]}")
            elif rtype == 6: records.append(f"{owner} {ttl} SOA")
            else: records.append(f"{owner} {ttl} {data.hex()}")
            at = end
        sections.append(sorted(records))
    if at != len(octets): raise RuntimeError("octets after the last record")
    words = [RCODES.get(rcode, str(rcode))] + [word for word, bit in (("qr", 0x8000), ("aa", 0x400), ("tc", 0x200), ("rd", 0x100), ("ra", 0x80)) if flags & bit]
    return " ".join(words), sections, edns


def udp_socket(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(20); sock.connect(address)
    return sock


def ask(address, name, rtype="A", **options):
    with udp_socket(address) as sock: sock.send(query(7, name, rtype, **options)); return read(sock.recv(65535))


def ask_tcp(address, queries):
    """All queries in one write; the responses by ID."""
    with socket.create_connection(address, 20) as sock:
        writer = threading.Thread(target=sock.sendall, args=(b"".join(struct.pack(">H", len(q)) + q for q in queries),)); writer.start()
        stream, found = sock.makefile("rb"), {}
        for _ in queries:
            length = stream.read(2)
            if len(length) < 2: break
            response = stream.read(struct.unpack(">H", length)[0]); found[response[:2]] = response
        writer.join()
        return found


def ask_many(address, queries, window=64):
    """So many in flight at a time over one socket; the responses in the order of the queries. A query's ID is set here."""
    with udp_socket(address) as sock:
        responses = [None] * len(queries)
        for start in range(0, len(queries), window):
            part = range(start, min(start + window, len(queries)))
            for at in part: sock.send(struct.pack(">H", at & 0xFFFF) + queries[at][2:])
            for _ in part:
                response = sock.recv(65535)
                responses[start + ((struct.unpack_from(">H", response)[0] - start) & 0xFFFF)] = response
        return responses


def first_address(response): return read(response)[1][0][0].split()[2]


def run(*arguments, folder=None, **options):
    return subprocess.run(arguments, cwd=folder or TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)


def held(conditions):
    """Whether all of it holds, and what does not."""
    wrong = [what for what, holds in conditions if not holds]
    return not wrong, "".join(f"; WRONG: {what}" for what in wrong)


# --- tests, instructions, and the lines ----------------------------------------------------------------------------------------

def tests(*which):
    """Whether these tests pass, and how many there are."""
    done = run("cargo", "test", "--locked", *which)
    return done.returncode == 0, sum(map(int, re.findall(r"^test result: ok\. (\d+) passed", done.stdout, re.M)))


def instructions(files, queries, counts=(6_400, 25_600)):
    """User-space instructions an answer under callgrind: the difference between two loads over the difference in queries. None without valgrind."""
    if not shutil.which("valgrind"): return None
    totals = []
    for count in counts:
        folder = tempfile.mkdtemp()
        settings = {"windrose.toml": SETTINGS.replace("[control]", "workers = 1\n\n[control]"), **files}
        with Daemon(settings, ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]) as daemon:
            # The start is not counted, and so is done in a tenth of the time.
            counting = run("callgrind_control", "--instr=on", str(daemon.process.pid))
            if counting.returncode: raise RuntimeError(f"callgrind_control: {counting.stderr}{counting.stdout}")
            ask_many(daemon.address, queries(count)); daemon.stop()
        with open(f"{folder}/out") as file: totals.append(int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M)[1]))
        shutil.rmtree(folder)
    return (totals[1] - totals[0]) / (counts[1] - counts[0])


def build():
    """Builds the release; the seconds that took if nothing was built before."""
    cold, start = not os.path.exists(os.path.join(os.path.dirname(BINARY), "deps")), time.monotonic()
    built = run("cargo", "build", "--release", "--locked")
    if built.returncode: sys.exit("the release build fails:\n" + built.stderr[-3000:])
    return time.monotonic() - start if cold else None


def measure(points):
    """Runs the points that the command line names, or all; ends with 1 if one fails."""
    failed = 0
    for number, point in enumerate(points, 1):
        if sys.argv[1:] and str(number) not in sys.argv[1:]: continue
        try: ok, figure = point()
        except Exception as error: ok, figure = False, " ".join(f"{type(error).__name__}: {error}".split())[:500]
        failed += not ok
        print(f"{number}. {'ok' if ok else 'FAIL'}: {point.__doc__}: {figure}", flush=True)
    sys.exit(1 if failed else 0)
