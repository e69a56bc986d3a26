//! Queries as the cases write them: a name, a type and `+options`, or octets.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use socket2::{Domain, Socket, Type};
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;

use crate::daemon::DEADLINE;
use crate::expect::octets;
use crate::message::FLAGS;

/// A query, and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// The message.
    pub(crate) octets: Vec<u8>,
    /// Over UDP.
    pub(crate) udp: bool,
    /// Over TCP.
    pub(crate) tcp: bool,
    /// The resolver's address; over the network only loopback addresses can be sent from.
    pub(crate) from: Option<IpAddr>,
    /// When it is asked, in seconds since 1970, if the answer depends on it.
    pub(crate) now: Option<u32>,
    /// The most octets that a response over UDP may have.
    pub(crate) room: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            octets: Vec::new(),
            udp: true,
            tcp: true,
            from: None,
            now: None,
            room: 512,
        }
    }
}

/// What of a query is not fixed while its options are read.
struct Draft {
    flags: u16,
    class: u16,
    opt: Option<OptDraft>,
    opts: usize,
    questions: u16,
    overlay: Vec<u8>,
    trail: Vec<u8>,
}

struct OptDraft {
    owner: Name,
    udp: u16,
    version: u8,
    flags: u16,
    options: Vec<u8>,
}

impl Default for OptDraft {
    fn default() -> Self {
        Self {
            owner: Name::root(),
            udp: 1232,
            version: 0,
            flags: 0,
            options: Vec::new(),
        }
    }
}

impl Query {
    /// Reads what follows `--- query`.
    pub(crate) fn parse(text: &str, id: u16) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or("a query has a name")?;
        let name = Name::parse(name, None).map_err(|error| format!("`{name}`: {error}"))?;
        let rtype = words.next().and_then(RecordType::parse).ok_or("a query has a type")?;
        let mut query = Query::default();
        let mut draft = Draft {
            flags: 0x0100,
            class: 1,
            opt: None,
            opts: 1,
            questions: 1,
            overlay: Vec::new(),
            trail: Vec::new(),
        };
        for word in words {
            draft
                .option(word, &mut query)
                .map_err(|fault| format!("`{word}`: {fault}"))?;
        }
        query.octets = draft.octets(id, &name, rtype);
        query.room = draft.opt.as_ref().map_or(512, |opt| usize::from(opt.udp).max(512));
        Ok(query)
    }

    /// Reads what follows `--- raw`: options, then octets.
    pub(crate) fn parse_raw(text: &str) -> Result<Self, String> {
        let mut query = Query {
            room: 1232,
            ..Query::default()
        };
        let mut digits = String::new();
        for word in text.split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("+tcp", _) => query.udp = false,
                ("+udp", _) => query.tcp = false,
                ("+from", address) => query.from = Some(address.parse().map_err(|_| "no address")?),
                _ => digits.push_str(word),
            }
        }
        query.octets = octets(&digits)?;
        Ok(query)
    }
}

/// Asked after a query that should be dropped: its answer comes next, if nothing came before.
const NEXT: &[u8] = b"\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";

impl Query {
    /// Sends it as a datagram; `None` if the daemon passes it over and answers the next one.
    pub(crate) fn over_udp(&self, server: SocketAddr) -> Option<Vec<u8>> {
        let socket = self.socket_to(server);
        socket.send(&self.octets).unwrap();
        socket.send(NEXT).unwrap();
        is_own(received(&socket))
    }

    /// Sends it as a datagram that nothing follows.
    pub(crate) fn alone_over_udp(&self, server: SocketAddr) -> Vec<u8> {
        let socket = self.socket_to(server);
        socket.send(&self.octets).unwrap();
        received(&socket)
    }

    /// Sends it over a connection of its own; `None` if the daemon passes it over, or closes the connection.
    pub(crate) fn over_tcp(&self, server: SocketAddr) -> Option<Vec<u8>> {
        let local = SocketAddr::new(self.from.unwrap_or(Ipv4Addr::LOCALHOST.into()), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&local.into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for octets in [&self.octets[..], NEXT] {
            let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
            // The daemon may have closed the connection already.
            let _ = stream.write_all(&[&length, octets].concat());
        }
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut octets = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut octets).unwrap();
        is_own(octets)
    }
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut octets = vec![0; 65_535];
    let length = socket.recv(&mut octets).expect("an answer before the deadline");
    octets.truncate(length);
    octets
}

fn is_own(octets: Vec<u8>) -> Option<Vec<u8>> {
    (!octets.starts_with(&NEXT[..2])).then_some(octets)
}

impl Query {
    fn socket_to(&self, server: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind((self.from.unwrap_or(Ipv4Addr::LOCALHOST.into()), 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.connect(server).unwrap();
        socket
    }
}

impl Draft {
    fn option(&mut self, word: &str, query: &mut Query) -> Result<(), String> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = |what: &str| value.parse::<u16>().map_err(|_| format!("{what} is a number"));
        match key {
            "+tcp" => query.udp = false,
            "+udp" => query.tcp = false,
            "+from" => query.from = Some(value.parse().map_err(|_| "no address")?),
            "+now" => query.now = Some(value.parse().map_err(|_| "no time")?),
            "+norec" => self.flags &= !0x0100,
            "+opcode" => self.flags = self.flags & 0x87ff | number("an opcode")? << 11,
            "+class" => self.class = class(value)?,
            "+edns" => _ = self.opt(),
            "+bufsize" => self.opt().udp = number("a size")?,
            "+do" => self.opt().flags |= 0x8000,
            "+ednsflags" => self.opt().flags = u16::from_str_radix(value, 16).map_err(|_| "no hexadecimal number")?,
            "+ednsversion" => self.opt().version = number("a version")?.try_into().map_err(|_| "at most 255")?,
            "+optname" => self.opt().owner = Name::parse(value, None).map_err(|error| error.to_string())?,
            "+opts" => self.opts = number("a count")?.into(),
            "+subnet" => self.subnet(value)?,
            "+option" => {
                let (code, data) = value.split_once(':').unwrap_or((value, ""));
                let code = code.parse().map_err(|_| "no code")?;
                self.push_option(code, &octets(data)?);
            }
            "+qdcount" => self.questions = number("a count")?,
            "+header" => self.overlay = octets(value)?,
            "+trail" => self.trail = octets(value)?,
            _ => {
                let flag = FLAGS.iter().find(|(name, _)| key.strip_prefix('+') == Some(name));
                self.flags |= flag
                    .map(|(_, bit)| *bit)
                    .or((key == "+z").then_some(0x0040))
                    .ok_or("no such option")?;
            }
        }
        Ok(())
    }

    fn opt(&mut self) -> &mut OptDraft {
        self.opt.get_or_insert_default()
    }

    fn push_option(&mut self, code: u16, data: &[u8]) {
        let options = &mut self.opt().options;
        options.extend(code.to_be_bytes());
        options.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        options.extend(data);
    }

    /// A client subnet, well-formed (RFC 7871 6): as many octets as the prefix needs, the bits beyond it zero.
    fn subnet(&mut self, value: &str) -> Result<(), String> {
        let network: ipnet::IpNet = value.parse().map_err(|_| "no network")?;
        let network = network.trunc();
        let (family, address) = match network.network() {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        let source = network.prefix_len();
        let mut data = vec![0, family, source, 0];
        data.extend(&address[..usize::from(source).div_ceil(8)]);
        self.push_option(8, &data);
        Ok(())
    }

    fn octets(&self, id: u16, name: &Name, rtype: RecordType) -> Vec<u8> {
        let additional = self.opt.as_ref().map_or(0, |_| u16::try_from(self.opts).unwrap());
        let mut octets = Vec::new();
        for field in [id, self.flags, self.questions, 0, 0, additional] {
            octets.extend(field.to_be_bytes());
        }
        for _ in 0..self.questions {
            octets.extend(name.wire());
            octets.extend(rtype.0.to_be_bytes());
            octets.extend(self.class.to_be_bytes());
        }
        for opt in self.opt.iter().flat_map(|opt| std::iter::repeat_n(opt, self.opts)) {
            octets.extend(opt.owner.wire());
            octets.extend(41_u16.to_be_bytes());
            octets.extend(opt.udp.to_be_bytes());
            octets.extend([0, opt.version]);
            octets.extend(opt.flags.to_be_bytes());
            octets.extend(u16::try_from(opt.options.len()).unwrap().to_be_bytes());
            octets.extend(&opt.options);
        }
        octets.extend(&self.trail);
        octets[..self.overlay.len()].copy_from_slice(&self.overlay);
        octets
    }
}

fn class(value: &str) -> Result<u16, String> {
    match value {
        "IN" => Ok(1),
        "CH" => Ok(3),
        "HS" => Ok(4),
        "NONE" => Ok(254),
        "ANY" => Ok(255),
        number => number.parse().map_err(|_| "no class".into()),
    }
}
