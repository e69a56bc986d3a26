"""Answers, rate limits, the comparison with other servers, the portable engine and fuzzing. `tests/accept/5` runs it."""
import os, re, struct, time
from common import SETTINGS, TOP, Daemon, ask, ask_many, ask_tcp, held, query, read, run, tests, udp_socket

APEX = '[records]\n"@".NS = "ns.example.net."\n'
PORTABLE = SETTINGS.replace("[control]", 'engine = "portable"\n[control]')


def answering():
    "answering"
    parent = APEX + 'www.A = "192.0.2.1"\n"*.w".CNAME = "www.child.example.com."\nold.DNAME = "child.example.com."\na.CNAME = "b"\nb.CNAME = "a"\n'
    parent += 'child.NS = "ns.child"\n"ns.child".A = "192.0.2.53"\nchild.DS = "1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"\n"svc".HTTPS = "1 www"\n'
    child = APEX + 'www.A = "192.0.2.2"\n'
    def names(section): return [record.split()[0] for record in section]
    checks = []
    with Daemon({"windrose.toml": SETTINGS.replace("[control]", 'nsid = "node"\n[control]'), "zones/example.com.toml": parent, "zones/child.example.com.toml": child}) as daemon:
        def get(name, rtype="A", **more): return ask(daemon.address, name, rtype, flags=0, **more)
        told, sections, _ = get("x.w.example.com."); checks.append(("a wildcard's alias into another zone", told == "NOERROR qr aa" and sections[0] == ["www.child.example.com. 300 192.0.2.2", "x.w.example.com. 300 www.child.example.com."]))
        told, sections, _ = get("www.old.example.com."); checks.append(("a DNAME and on", told == "NOERROR qr aa" and len(sections[0]) == 3 and "www.child.example.com. 300 192.0.2.2" in sections[0]))
        told, sections, _ = get("gone.old.example.com."); checks.append(("NXDOMAIN at the end of a chain", told == "NXDOMAIN qr aa" and names(sections[1]) == ["child.example.com."]))
        told, sections, _ = get("a.example.com."); checks.append(("a circle", told == "NOERROR qr aa" and len(sections[0]) == 2))
        told, sections, _ = get("child.example.com.", "TYPE43"); checks.append(("DS is the parent's", told == "NOERROR qr aa" and names(sections[0]) == ["child.example.com."]))
        told, sections, _ = get("svc.example.com.", "TYPE65"); checks.append(("HTTPS with addresses", sections[2] == ["www.example.com. 300 192.0.2.1"]))
        told, sections, _ = get("id.server.", "TXT", rclass=3); checks.append(("id.server", sections[0] == ["id.server. 0 046e6f6465"]))
        told, _, _ = get("www.example.com.", rclass=255); checks.append(("class ANY", told == "NOERROR qr"))
        told, sections, _ = get("child.example.com.", "TYPE255"); checks.append(("ANY is one set (RFC 8482)", len({record.split()[0] for record in sections[0]}) == 1 and len(sections[0]) == 1))
    passed, count = tests("--test", "it", "--", "cases::answer_cases_in_process", "random_zones::", "rfc::", "found::")
    cases = sum(len(files) for _, _, files in os.walk(os.path.join(TOP, "tests/cases")))
    ok, faults = held(checks + [("tests", passed)])
    return ok, f"{len(checks)} of {len(checks) - faults.count('WRONG')} answers over a socket as they should be; {count} tests over {cases} text cases and random zones{faults}"


def rate_limits():
    "response rate limiting"
    limited = SETTINGS.replace("[control]", "rate_limit = { responses_per_second = 20, slip = 2 }\n[control]")
    figures, checks = [], []
    for engine, settings in (("native", limited), ("portable", limited.replace("[control]", 'engine = "portable"\n[control]'))):
        with Daemon({"windrose.toml": settings, "zones/example.com.toml": APEX + 'www.A = "192.0.2.1"\n'}) as daemon:
            with udp_socket(daemon.address) as sock:
                # Within one second of the clock, begun at its start; then what has come is read.
                time.sleep(1.02 - time.time() % 1)
                for number in range(400): sock.send(query(number, "www.example.com."))
                whole = cut = 0; sock.settimeout(0.5)
                try:
                    while True: flags = struct.unpack_from(">H", sock.recv(512), 2)[0]; cut += bool(flags & 0x200); whole += not flags & 0x200
                except TimeoutError: pass
            over_tcp = ask_tcp(daemon.address, [query(number, "www.example.com.") for number in range(400)])
            figures.append(f"{engine}: of 400 in a second {whole} whole, {cut} cut, {400 - whole - cut} dropped; 400 of {len(over_tcp)} over TCP")
            # The second may turn while they are sent.
            checks.append((f"{engine}", 20 <= whole <= 40 and cut > 80 and 400 - whole - cut > 80 and len(over_tcp) == 400))
    passed, count = tests("--test", "it", "--", "rate_limit::")
    ok, faults = held(checks + [("tests", passed)])
    return ok, f"{'; '.join(figures)}; {count} tests{faults}"


def differential():
    "compared with NSD, Knot and BIND"
    done = run(os.path.join(TOP, "tests/differential"), "--pairs", "100000")
    pairs = int((re.search(r"(\d+) pairs", done.stdout) or [0, 0])[1])
    kinds = re.findall(r"^(NSD|Knot|BIND) +(\d+)  (.*)$", done.stdout, re.M)
    listed = open(os.path.join(TOP, "docs/conformance.md")).read()
    unexplained = {peer: sum(int(count) for name, count, kind in kinds if name == peer and kind.startswith("?")) for peer in ("NSD", "Knot", "BIND")}
    unlisted = {kind for _, _, kind in kinds if not kind.startswith("?") and f"| {kind} |" not in listed}
    ok, faults = held([(f"the run: {done.stderr[-300:]}", done.returncode == 0), ("pairs", pairs >= 100_000), (f"not in docs/conformance.md: {unlisted}", not unlisted)])
    return ok, f"{pairs} pairs, {len({kind for _, _, kind in kinds if not kind.startswith('?')})} kinds of difference, all in docs/conformance.md; of no listed kind: {', '.join(f'{count} with {peer}' for peer, count in unexplained.items())}{faults}"


def portable():
    "the portable engine"
    zone = {"zones/example.com.toml": APEX + 'www.A = "192.0.2.1"\n"*.w".MX = "10 www"\nlong.TXT = ["' + '", "'.join(["x" * 200] * 20) + '"]\n'}
    queries = [query(number, name, rtype, edns=number % 2 == 0) for number, (name, rtype) in enumerate([(name, rtype) for name in ("www.example.com.", "a.w.example.com.", "long.example.com.", "gone.example.com.", "example.com.", "example.net.") for rtype in ("A", "MX", "TXT", "NS", "SOA", "TYPE65280")])]
    def answers(settings):
        with Daemon({"windrose.toml": settings, **zone}) as daemon:
            over_udp = [read(response) for response in ask_many(daemon.address, queries)]
            over_tcp = ask_tcp(daemon.address, queries)
            return over_udp, [read(over_tcp[asked[:2]]) for asked in queries]
    same = answers(SETTINGS) == answers(PORTABLE)
    passed, count = tests("--test", "it", "--", "cases::", "portable::")
    ok, faults = held([("the same answers", same), ("tests", passed), ("the example", run("cargo", "build", "--locked", "--example", "embed").returncode == 0)])
    return ok, f"{2 * len(queries)} answers over UDP and TCP as those of the native engine; {count} tests, which run every text case through it; examples/embed.rs builds{faults}"


def fuzzing():
    "fuzzing"
    passed, count = tests("--test", "it", "--", "fuzz::", "tidy::readers_of_foreign_octets_neither_index_nor_truncate")
    text = open(os.path.join(TOP, "docs/conformance.md")).read()
    runs = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.M)
    wanted = {"query", "response", "master", "toml", "cookies"}
    seeds = {name: len(os.listdir(os.path.join(TOP, "fuzz/seeds", name))) for name, _ in runs}
    ok, faults = held([("tests", passed), (f"runs of {wanted - {name for name, _ in runs}}", wanted <= {name for name, _ in runs})])
    return ok, f"{count} tests in short form; long runs in docs/conformance.md: {', '.join(f'{name} {executions}' for name, executions in runs)}; inputs kept: {sum(seeds.values())}{faults}"
