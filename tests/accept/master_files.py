"""Point 1 of issue 5, master files: what is read, what is told, round trips by their answers, and large loads beside NSD and Knot."""
import os, re, shutil, socket, subprocess, tempfile, time
from common import BINARY, TYPES, Daemon, ask, ask_tcp, held, query, run, tests

SOA = "$TTL 300\n@ SOA ns1 host\\.master 1 2h 30m 14d 1m\n@ NS ns1\nns1 A 192.0.2.1\n"
# Every form of a line that the issue names, and a type of every kind of field.
FORMS = SOA + """a 60 IN A 192.0.2.2
b IN 1h30m A ( 192.0.2.3 ; a comment
 )
 MX 10 mail
$ORIGIN sub.example.com.
\\000\\.x TXT "a ; b" c\\032d "\\"" ; an owner with a dot in a label
$ORIGIN example.com.
$GENERATE 1-20/2 h-${0,3} A 192.0.2.$
$INCLUDE parts/mail.inc mail
u TYPE65280 \\# 3 010203
u CLASS1 TYPE1 \\# 4 c0000204
s SRV 0 5 5060 a
s CAA 0 issue "ca.example.net"
s LOC 52 22 23.000 N 4 53 32.000 E -2.00m 10m
*.w CNAME a
d DNAME e
cut NS ns.cut
ns.cut A 192.0.2.9
"""
INCLUDED = "@ MX 5 in\nin AAAA 2001:db8::5\n"
BAD = SOA + "x A 192.0.2.300\ny AX 192.0.2.1\nz 60 A 192.0.2.1)\n"
RECORDS, ZONES = 1_000_000, 10_000


def answers(daemon, names):
    """What every type is answered at names, and at one below each: whole messages."""
    queries = [query(0, name, rtype) for name in names for rtype in TYPES] + [query(0, "x." + name) for name in names]
    queries = [at.to_bytes(2, "big") + octets[2:] for at, octets in enumerate(queries)]
    return ask_tcp(daemon.address, queries)


def folder_of(files):
    folder = tempfile.mkdtemp(prefix="windrose-"); os.makedirs(f"{folder}/zones/parts")
    for path, text in files.items():
        with open(f"{folder}/{path}", "w") as file: file.write(text)
    return folder


def round_trip():
    """The same zone as a master file, imported and exported; how many answers were compared, and whether all are alike."""
    folder = folder_of({"windrose.toml": "", "zones/example.com.zone": FORMS, "zones/parts/mail.inc": INCLUDED})
    exported = run(BINARY, "export", "example.com", folder=folder); imported = run(BINARY, "import", "example.com.zone", folder=folder + "/zones")
    shutil.rmtree(folder)
    with Daemon({"zones/example.com.zone": exported.stdout}) as daemon:
        names = sorted({line.split()[0] for line in exported.stdout.splitlines() if line and line[0] not in " ;$\\"} | {"nosuch.example.com.", "q.w.example.com."})
        of_export = answers(daemon, names)
    with Daemon({"zones/example.com.toml": imported.stdout}) as daemon: of_import = answers(daemon, names)
    with Daemon({"zones/x.toml": '[zone]\norigin = "x"\n[records]\n"@".NS = "ns.example."\n'}) as daemon:
        os.makedirs(f"{daemon.folder}/zones/parts")
        daemon.write("zones/parts/mail.inc", INCLUDED); daemon.write("zones/example.com.zone", FORMS); told = daemon.reload()
        of_file = answers(daemon, names); generated, included = ask(daemon.address, "h-019.example.com."), ask(daemon.address, "in.mail.example.com.", "AAAA")
    read_all = "reloaded" in told and generated[1][0] == ["h-019.example.com. 300 192.0.2.19"] and included[1][0] == ["in.mail.example.com. 300 2001:db8::5"]
    return len(of_file), len(of_file) == len(names) * (len(TYPES) + 1), read_all, of_file == of_import, of_file == of_export


def bad_zones():
    """A bad file among good ones, at a start and at a reload; and what is no file."""
    places = ["zones/bad.example.zone:5:5: error: ", "zones/bad.example.zone:6:3: error: ", "zones/bad.example.zone:7:17: error: "]
    code = lambda daemon, name: ask(daemon.address, name)[0].split()[0]
    with Daemon({"zones/a.example.zone": SOA, "zones/bad.example.zone": BAD, "zones/c.example.zone": SOA}) as daemon:
        served = [code(daemon, f"ns1.{zone}.example.") for zone in ("a", "bad", "c")]; loud = all(place in daemon.told() for place in places)
        checked = run(BINARY, "check", folder=daemon.folder); fails = checked.returncode == 1 and all(place in checked.stdout + checked.stderr for place in places)
    with Daemon({"zones/a.example.zone": SOA}) as daemon:
        daemon.write("zones/a.example.zone", SOA.replace("192.0.2.1", "192.0.2.77")); daemon.write("zones/bad.example.zone", BAD)
        told = daemon.reload(); kept = ask(daemon.address, "ns1.a.example.")[1][0] == ["ns1.a.example. 300 192.0.2.1"]
    folder = folder_of({"windrose.toml": "", "zones/a.example.zone": SOA}); os.mkfifo(f"{folder}/zones/f.zone"); os.symlink("/dev/zero", f"{folder}/zones/z.zone")
    odd = run(BINARY, "check", folder=folder, timeout=20); shutil.rmtree(folder)
    return [("good zones are served beside a bad one", served == ["NOERROR", "SERVFAIL", "NOERROR"]), ("every fault is loud at a start", loud), ("check fails", fails),
            ("a reload with a bad file is refused", "reload refused" in told and all(place in told for place in places) and kept),
            ("a FIFO and a device are faults", odd.returncode == 1 and (odd.stdout + odd.stderr).count("it is a FIFO, a socket or a device") == 2)]


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock: sock.bind(("127.0.0.1", 0)); return sock.getsockname()[1]


def below(pid):
    """A process and all that it started."""
    try: children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    except OSError: children = []
    return [pid] + [one for child in children for one in below(int(child))]


def figures(pids):
    """Seconds of processor and MiB of memory (shared pages once)."""
    seconds = memory = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file: seconds += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15])) / os.sysconf("SC_CLK_TCK")
            with open(f"/proc/{pid}/smaps_rollup") as file: memory += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1]) / 1024
        except OSError: pass
    return seconds, memory


def load(command, folder, port, name):
    """Starts a server: seconds to the first answer, of them of processor, the most memory on the way, and memory afterwards."""
    start, most = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.05)
            while time.monotonic() - start < 120:
                try:
                    sock.sendto(query(7, name), ("127.0.0.1", port)); response = sock.recv(4096)
                    if response[3] & 15 == 0 and response[7]: break
                except OSError: pass
                most = max(most, figures(below(process.pid))[1])
            else: raise RuntimeError(f"{command[0]} does not answer")
        seconds = time.monotonic() - start; cpu, memory = figures(below(process.pid))
        return f"{seconds:.1f} s ({cpu:.1f} of processor), at most {max(most, memory):.0f} MiB, then {memory:.0f}"
    finally:
        for pid in reversed(below(process.pid)):
            try: os.kill(pid, 15)
            except OSError: pass
        process.wait(30)


def loads(origins, text, name):
    """The same zones in each server that is here."""
    folder = folder_of({f"zones/{origin}.zone": text for origin in origins}); told = []
    port = free_port()
    with open(f"{folder}/windrose.toml", "w") as file: file.write(f'[server]\nlisten = ["127.0.0.1:{port}"]\nworkers = 1\n[control]\nlisten = ""\n')
    told.append("windrose " + load([BINARY, "serve"], folder, port, name))
    if shutil.which("nsd"):
        port = free_port(); zones = "".join(f"zone:\n  name: {origin}\n  zonefile: {origin}.zone\n" for origin in origins)
        with open(f"{folder}/nsd.conf", "w") as file:
            file.write(f'server:\n  ip-address: 127.0.0.1@{port}\n  username: ""\n  zonesdir: "{folder}/zones"\n  database: ""\n  pidfile: "{folder}/nsd.pid"\n'
                       f'  xfrdfile: "{folder}/xfrd"\n  zonelistfile: "{folder}/list"\n  server-count: 1\nremote-control:\n  control-enable: no\n{zones}')
        told.append("NSD " + load(["nsd", "-d", "-c", f"{folder}/nsd.conf"], folder, port, name))
    if shutil.which("knotd"):
        port = free_port(); zones = "".join(f"  - domain: {origin}\n    file: {origin}.zone\n" for origin in origins)
        with open(f"{folder}/knot.conf", "w") as file:
            file.write(f'server:\n  listen: 127.0.0.1@{port}\n  rundir: {folder}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\ndatabase:\n  storage: {folder}\n'
                       f'template:\n  - id: default\n    storage: {folder}/zones\n    zonefile-load: whole\n    semantic-checks: off\n    journal-content: none\nzone:\n{zones}')
        told.append("Knot " + load(["knotd", "-c", f"{folder}/knot.conf"], folder, port, name))
    shutil.rmtree(folder)
    return "; ".join(told)


def master_files():
    """master files: their forms, faults and round trips, and large ones"""
    compared, whole, read_all, as_import, as_export = round_trip()
    passed, count = tests("--test", "it", "--", "zone_files", "master", "fuzz_master")
    large = SOA + "".join(f"host-{at} A 10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}\n" for at in range(RECORDS))
    million = loads(["big.example"], large, f"host-{RECORDS - 1}.big.example.")
    many = loads([f"z{at}.example" for at in range(ZONES)], SOA, f"ns1.z{ZONES - 1}.example.")
    ok, faults = held([("all queries were answered", whole), ("every form was read", read_all), ("import answers alike", as_import), ("export answers alike", as_export), *bad_zones(), ("tests", passed and count >= 14)])
    return ok, f"{compared} answers of a file, its import and its export are alike; {count} tests; {RECORDS:,} records: {million}; {ZONES:,} zones: {many}{faults}"
