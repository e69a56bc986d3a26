"""Transport and EDNS. Cookies by a second implementation, the tests of RFC 8906, messages that are no queries, streams, and a
datagram from port 0, which needs root. `tests/accept/5` runs it.
"""
import ipaddress, os, re, socket, struct, threading, time
from common import SETTINGS, TOP, Daemon, ask, ask_tcp, held, query, read, run, udp_socket, wait_until

FILE, NAME, ORIGIN = "zones/gtm.example.com.toml", "www.gtm.example.com.", "gtm.example.com."
APEX = '[records]\n"@".NS = "ns.example.net."\n'
SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
IDLE, PER_CLIENT = 10, 128


def sip_hash(key, octets):
    """SipHash-2-4 (Aumasson and Bernstein), written from its paper: eight octets."""
    mask = (1 << 64) - 1
    def turn(word, by): return (word << by | word >> 64 - by) & mask
    k0, k1 = struct.unpack("<2Q", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask; v[1] = turn(v[1], 13) ^ v[0]; v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & mask; v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask; v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask; v[1] = turn(v[1], 17) ^ v[2]; v[2] = turn(v[2], 32)
    padded = octets + bytes(7 - len(octets) % 8) + bytes([len(octets) & 255])
    for (word,) in struct.iter_unpack("<Q", padded): v[3] ^= word; rounds(2); v[0] ^= word
    v[2] ^= 0xFF; rounds(4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def cookie(client, now, address="127.0.0.1", secret=SECRET):
    """A client cookie and the server cookie that RFC 9018 4 makes of it."""
    head = client + struct.pack(">BxxxI", 1, now)
    return head + sip_hash(secret, head + ipaddress.ip_address(address).packed)


def option(code, data=b""): return struct.pack(">HH", code, len(data)) + data


def options(edns):
    """The options of an OPT record, by code."""
    found, data = {}, edns[2] if edns else b""
    while data: code, length = struct.unpack_from(">HH", data); found[code] = data[4:4 + length]; data = data[4 + length:]
    return found


def exchange(address, octets, seconds=20):
    """One message over UDP; None if nothing comes back."""
    with udp_socket(address) as sock:
        sock.settimeout(seconds); sock.send(octets)
        try: return read(sock.recv(65535))
        except TimeoutError: return None


def cookies_hold(checks):
    """Cookies against a second implementation: made, accepted, told apart; a secret that is rolled over; BADCOOKIE; no question."""
    client, zone = b"accepted", APEX + 'www.A = "192.0.2.7"\n'
    def settings(mode): return f'[server]\nlisten = ["127.0.0.1:0"]\ncookies = "{mode}"\ncookie_secret_file = "secret"\n[control]\nlisten = ""\n'
    checks.append(("SipHash is not that of RFC 9018 A.1", cookie(bytes.fromhex("2464c4abcf10c957"), 1559731985, "198.51.100.100").hex().endswith("1f8130c3eee29480")))
    with Daemon({"windrose.toml": settings("on"), "secret": SECRET.hex() + "\n", FILE: zone}) as daemon:
        def shown(data, **more):
            words, sections, edns = ask(daemon.address, NAME, opt=option(10, data), **more)
            return words.split()[0], len(sections[0]), options(edns).get(10)
        def made(data, secret=SECRET): return data and data == cookie(client, struct.unpack_from(">I", data, 12)[0], secret=secret)
        def now(): return int(time.time())
        code, records, got = shown(client)
        checks.append((f"a client cookie: {code}", (code, records) == ("NOERROR", 1) and made(got) and abs(struct.unpack_from(">I", got, 12)[0] - now()) <= 2))
        good = cookie(client, now() - 60)
        checks.append(("a good cookie does not come back as it was", shown(good)[2] == good))
        daemon.write("windrose.toml", settings("required")); told = daemon.reload()
        checks.append(("no reload: " + told, "reloaded" in told))
        for what, data, expected in [("good", good, ("NOERROR", 1)), ("an hour old", cookie(client, now() - 3590), ("NOERROR", 1)), ("too old", cookie(client, now() - 3700), ("BADCOOKIE", 0)),
                                     ("of the future", cookie(client, now() + 400), ("BADCOOKIE", 0)), ("of another address", cookie(client, now(), "127.0.0.2"), ("BADCOOKIE", 0)),
                                     ("forged", good[:-1] + bytes([good[-1] ^ 1]), ("BADCOOKIE", 0)), ("of another secret", cookie(client, now(), secret=bytes(16)), ("BADCOOKIE", 0)), ("alone", client, ("BADCOOKIE", 0))]:
            code, records, got = shown(data)
            checks.append((f"required, a cookie {what}: {code}", (code, records) == expected and made(got)))
        checks.append(("no cookie, and no TC", ask(daemon.address, NAME)[0] == "NOERROR qr tc rd"))
        tcp = ask_tcp(daemon.address, [query(1, NAME)])
        checks.append(("no answer over TCP", len(read(tcp[b"\0\1"])[1][0]) == 1))
        daemon.write("secret", bytes(16).hex() + "\n" + SECRET.hex() + "\n"); daemon.reload()
        code, records, got = shown(good)
        checks.append((f"after a rollover: {code}", (code, records) == ("NOERROR", 1) and made(got, bytes(16))))
        alone = struct.pack(">HHHHHH", 1, 0, 0, 0, 0, 1) + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 12) + option(10, client)
        words, _, edns = exchange(daemon.address, alone)
        checks.append(("no question: " + words, words == "NOERROR qr" and made(options(edns).get(10), bytes(16))))
        lengths = [length for length in range(65) if ask(daemon.address, NAME, opt=option(10, bytes(length)))[0].split()[0] == "FORMERR"]
        checks.append((f"FORMERR for lengths {lengths}", lengths == [length for length in range(65) if length != 8 and not 16 <= length <= 40]))
        return 8


def rfc_8906_holds(address, checks):
    """Its section 8, in order; returns how many."""
    soa, none = ("NOERROR qr aa", 1), ("BADVERS qr", 0)
    wanted = [("8.1.1", soa, {}), ("8.1.3.1", soa, {"flags": 0x10}), ("8.1.3.2", soa, {"flags": 0x20}), ("8.1.3.3", soa, {"flags": 0x40}), ("8.1.3.4", ("NOERROR qr aa rd", 1), {"flags": 0x100}),
              ("8.1.4", ("NOTIMP qr", 0), {"flags": 15 << 11}), ("8.2.1", soa, {"edns": True}), ("8.2.2", none, {"version": 1}), ("8.2.3", soa, {"opt": option(100)}), ("8.2.6", none, {"version": 1, "opt": option(100)}),
              ("8.2.8", soa, {"do": True}), ("8.2.9", none, {"version": 1, "do": True}), ("8.2.10", soa, {"opt": option(3) + option(10, b"accepted") + option(9) + option(8, bytes([0, 1, 0, 0]))})]
    for number, (words, records), more in wanted:
        told, sections, edns = ask(address, ORIGIN, "SOA", **{"flags": 0, **more})
        has_opt = bool({"edns", "version", "opt", "do"} & more.keys())
        checks.append((f"RFC 8906 {number}: {told}, {edns}", (told, len(sections[0])) == (words, records) and (edns is not None) == has_opt and (not edns or edns[:2] == (0, "do" in more) and 100 not in options(edns))))
    told, sections, _ = ask(address, ORIGIN, "TYPE65280", flags=0)
    checks.append((f"RFC 8906 8.1.2: {told}", (told, len(sections[0]), len(sections[1])) == ("NOERROR qr aa", 0, 1)))
    plain = query(1, ORIGIN, "SOA", flags=0)
    over_tcp = read(ask_tcp(address, [plain])[b"\0\1"])
    checks.append((f"RFC 8906 8.1.5: {over_tcp[0]}", over_tcp == ask(address, ORIGIN, "SOA", flags=0)))
    for number, flagged, words in [("8.2.4", 0x40, "NOERROR qr aa"), ("8.2.5", 0x10040, "BADVERS qr")]:
        told, _, edns = exchange(address, plain[:11] + b"\1" + plain[12:] + b"\0" + struct.pack(">HHIH", 41, 1232, flagged, 0))
        checks.append((f"RFC 8906 {number}: {told}", told == words and edns[:2] == (0, False)))
    long = query(1, "long." + ORIGIN, "TXT", flags=0, edns=True).replace(struct.pack(">HH", 41, 1232), struct.pack(">HH", 41, 512))
    told, sections, edns = exchange(address, long)
    checks.append((f"RFC 8906 8.2.7: {told}", told == "NOERROR qr aa tc" and not sections[0] and edns is not None))
    return len(wanted) + 5


def malformed_holds(daemon, checks):
    """What cannot be read is FORMERR or passed over, never a panic; returns how many messages were tried."""
    plain, edns = query(7, NAME), query(7, NAME, opt=option(10, b"accepted"))
    cut = [edns[:length] for length in range(12, len(edns))]
    header = lambda *counts: struct.pack(">HHHHHH", 7, 0x100, *counts)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    wrong = cut + [plain + b"\0", plain + bytes(20), header(2, 0, 0, 0) + plain[12:] * 2, header(0, 0, 0, 0), header(1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", header(1, 0, 0, 0) + b"\3www\xc0\0\0\1\0\1",
                   header(1, 0, 0, 0) + b"\x41a\0\0\1\0\1", header(1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", header(1, 0, 0, 2) + plain[12:] + opt * 2, header(1, 1, 0, 0) + plain[12:] + opt,
                   header(1, 0, 0, 1) + plain[12:] + b"\1a" + opt, header(1, 0, 0, 1) + plain[12:] + opt[:-1] + b"\4\0\3\0\1", header(1, 65535, 65535, 65535) + plain[12:], query(7, NAME, opt=option(8, b"\0\1\x21\0\1\2\3\4\5"))]
    told = [exchange(daemon.address, octets) for octets in wrong]
    others = [(octets.hex(), answer and answer[0]) for octets, answer in zip(wrong, told) if not answer or not answer[0].startswith("FORMERR qr")]
    checks.append((f"not FORMERR: {others[:3]}", not others))
    silent = [plain[:2] + b"\x81" + plain[3:], plain[:11], plain[:1], b""]
    answered = [octets.hex() for octets in silent if exchange(daemon.address, octets, 0.3)]
    checks.append((f"answered: {answered}", not answered))
    checks.append(("a panic: " + daemon.told()[-300:], "panic" not in daemon.told()))
    return len(wrong) + len(silent)


def mutated_hold(checks):
    """A million changed messages over each transport, whose every answer is held to what it must be; returns words."""
    done = run(os.path.join(TOP, "tests/mutate"), "--packets", "1000000")
    read_for_certain = {transport: tuple(map(int, counts)) for transport, *counts in re.findall(r"^(UDP|TCP): \d+ sent, (\d+) read for certain, (\d+) answered", done.stdout, re.M)}
    memory = re.search(r"^memory: (\d+) KiB .*, (\d+) KiB at the end$", done.stdout, re.M)
    seconds = re.search(r"^(\d+) s$", done.stdout, re.M)
    checks.append((f"changed messages: {done.stdout[-500:]}{done.stderr[-500:]}", done.returncode == 0 and memory and seconds and all(count >= 1_000_000 for count, _ in read_for_certain.values()) and len(read_for_certain) == 2))
    if not memory or not seconds: return "no run of changed messages"
    told = ", ".join(f"{count:,} over {transport}, {answered:,} of them answered" for transport, (count, answered) in read_for_certain.items())
    return f"changed messages: {told}, each as it must be, in {seconds[1]} s; memory {int(memory[1]) / 1024:.1f} MiB before, {int(memory[2]) / 1024:.1f} after"


def tcp_holds(daemon, checks):
    """Streams: pipelined, octet by octet, half closed, slow, too many; returns words."""
    queries = [query(identity, NAME) for identity in range(1_000)]
    found = ask_tcp(daemon.address, queries)
    checks.append((f"{len(found)} of 1,000 pipelined", len(found) == 1_000 and list(found) == [struct.pack(">H", identity) for identity in range(1_000)]))
    framed = struct.pack(">H", len(queries[7])) + queries[7]
    with socket.create_connection(daemon.address, 20) as sock:
        for octet in framed: sock.send(bytes([octet])); time.sleep(0.002)
        sock.shutdown(socket.SHUT_WR); stream = sock.makefile("rb").read()
        checks.append(("octet by octet, half closed", len(stream) > 2 and stream[2:4] == b"\0\7"))
    with socket.create_connection(daemon.address, 20) as sock:
        sock.sendall(framed + b"\0\0"); stream = sock.makefile("rb").read()
        checks.append(("a length of 0 does not end it after the answer", stream[2:4] == b"\0\7"))
    ended, started = [], time.monotonic()
    def slow(drips):
        with socket.create_connection(daemon.address, 30) as sock:
            sock.settimeout(0.5)
            for at in range(80):
                try:
                    if drips: sock.send(framed[at % len(framed):][:1] if at < len(framed) - 1 else b"")
                    if not sock.recv(1): break
                except TimeoutError: pass
                except ConnectionError: break
            ended.append(time.monotonic() - started)
    threads = [threading.Thread(target=slow, args=(drips,)) for drips in (False, True)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    checks.append((f"idle and slow connections ended after {ended}", len(ended) == 2 and all(IDLE - 0.5 <= seconds <= IDLE + 2 for seconds in ended)))
    socks, full = [], None
    try:
        for count in range(PER_CLIENT + 1):
            sock = socket.create_connection(daemon.address, 20); socks.append(sock)
            try: sock.sendall(framed); answered = len(sock.recv(2)) == 2
            except ConnectionError: answered = False
            if not answered: full = count; break
        checks.append((f"connection {full} of one client is not let in", full == PER_CLIENT))
        with socket.create_connection(daemon.address, 20, ("127.0.0.9", 0)) as other: other.sendall(framed); checks.append(("another client is shut out", len(other.recv(2)) == 2))
    finally:
        for sock in socks: sock.close()
    def has_room():
        with socket.create_connection(daemon.address, 20) as sock:
            try: sock.sendall(framed); return len(sock.recv(2)) == 2
            except ConnectionError: return False
    wait_until(has_room, "there is room again")
    keepalive = read(ask_tcp(daemon.address, [query(1, NAME, opt=option(11))])[b"\0\1"])[2]
    checks.append((f"edns-tcp-keepalive: {options(keepalive)}", options(keepalive).get(11) == struct.pack(">H", 10 * IDLE)))
    checks.append(("keepalive over UDP", 11 not in options(ask(daemon.address, NAME, opt=option(11))[2])))
    longest = read(ask_tcp(daemon.address, [query(1, "longest." + ORIGIN, "TXT")])[b"\0\1"])
    checks.append((f"the longest answer: {longest[0]}, {len(longest[1][0])} records", longest[0] == "NOERROR qr aa rd" and len(longest[1][0]) == 244))
    return f"1,000 pipelined, slow ones ended after {min(ended):.1f} to {max(ended):.1f} s, {full} connections of one client"


def port_zero_holds(daemon, checks):
    """A datagram from port 0 gets no answer. It needs a raw socket."""
    def total(octets): octets += b"\0" * (len(octets) % 2); return sum(struct.unpack(f">{len(octets) // 2}H", octets))
    try: raw, heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError: return "port 0 not tried (it needs root)"
    with raw, heard:
        heard.settimeout(0.5); host, octets, seen = socket.inet_aton("127.0.0.1"), query(7, NAME), {}
        for port in (0, 40_123):
            datagram = struct.pack(">HHHH", port, daemon.address[1], 8 + len(octets), 0) + octets
            rest = total(host * 2 + struct.pack(">HH", 17, len(datagram)) + datagram)
            while rest >> 16: rest = (rest & 0xFFFF) + (rest >> 16)
            datagram = datagram[:6] + struct.pack(">H", ~rest & 0xFFFF) + datagram[8:]
            raw.sendto(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0, host, host) + datagram, ("127.0.0.1", 0))
            seen[port] = False
            try:
                while not seen[port]: seen[port] = struct.unpack_from(">HH", heard.recv(65535), 20) == (daemon.address[1], port)
            except TimeoutError: pass
    checks.append((f"answered by port: {seen}", seen == {0: False, 40_123: True}))
    return "port 0 passed over"


def transport_and_edns():
    "transport and EDNS"
    longest = ", ".join(f'"{number:0>255}"' for number in range(244))
    zone = APEX + 'www.A = "192.0.2.7"\n' + f'long.TXT = [{", ".join(chr(34) + str(number) * 100 + chr(34) for number in range(9))}]\nlongest.TXT = [{longest}]\n'
    checks, words = [], []
    cookies = cookies_hold(checks)
    with Daemon({"windrose.toml": SETTINGS.replace("[control]", 'nsid = "node"\n[control]'), FILE: zone}) as daemon:
        tests_of_rfc, messages = rfc_8906_holds(daemon.address, checks), malformed_holds(daemon, checks)
        words = [tcp_holds(daemon, checks), port_zero_holds(daemon, checks), mutated_hold(checks)]
        for what, rtype, flags, told in [("NOTIFY", "SOA", 4 << 11, "NOTIMP qr"), ("UPDATE", "SOA", 5 << 11, "NOTIMP qr"), ("AXFR", "AXFR", 0, "REFUSED qr"), ("IXFR", "IXFR", 0, "REFUSED qr")]:
            got, _, edns = ask(daemon.address, ORIGIN, rtype, flags=flags, edns=True)
            checks.append((f"{what}: {got}", got == told and options(edns).get(15) == b"\0\x15"))
        got, _, edns = ask(daemon.address, "www.example.net.", edns=True)
        checks.append((f"outside: {got}", got == "REFUSED qr rd" and options(edns).get(15) == b"\0\x14"))
        checks.append(("NSID", options(ask(daemon.address, NAME, opt=option(3))[2]).get(3) == b"node"))
        checks.append(("the stop", daemon.stop() == 0))
    ok, wrong = held(checks)
    return ok, f"cookies as RFC 9018 makes them, by a second implementation, {cookies} kinds told apart; {tests_of_rfc} tests of RFC 8906; {messages} malformed messages; {'; '.join(words)}{wrong}"
