//! A client over TCP: messages are pipelined on many connections, some of them with lengths that are wrong, some cut or reset.
//!
//! Whatever is sent, the octets are read as RFC 7766 frames them, to the message that is none: the answers are those to all before it, in
//! their order.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;
use windrose::answer::Transport;

use super::asked::{Asked, Due};
use super::seeds::{any, one_in};
use super::tally::Tally;
use super::world::{Engine, ORDINARY};
use crate::daemon::{DEADLINE, query};
use crate::message::hex;

/// Connections of a client at a time.
const CONNECTIONS: usize = 8;

/// Messages of one connection, and octets of them: what the buffers of the kernel hold before anything is read.
const MESSAGES: usize = 120;
const OCTETS: usize = 24 * 1024;

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Nothing: whole messages, all written at once.
    Whole,
    /// Written in small parts.
    InParts,
    /// One length is wrong.
    WrongLength,
    /// It ends in the midst of a message.
    Cut,
    /// It is reset before anything is read.
    Reset,
}

impl Treatment {
    fn words(self) -> &'static str {
        match self {
            Treatment::Whole => "whole",
            Treatment::InParts => "written in parts",
            Treatment::WrongLength => "with a wrong length",
            Treatment::Cut => "cut",
            Treatment::Reset => "reset",
        }
    }
}

/// What is said on a connection.
struct Conversation {
    treatment: Treatment,
    octets: Vec<u8>,
    messages: usize,
    /// The places of the messages that are answered.
    due: Vec<(usize, usize)>,
    /// Whether one ends it that is read and not answered.
    is_silenced: bool,
    /// Whether octets follow what ends it. Then the connection may be reset before every answer has been read.
    goes_on: bool,
}

/// The client.
pub(crate) struct Client {
    server: SocketAddr,
    engine: Engine,
    /// What gets no answer ends a connection, so that only one of so many is sent: else none would grow long. hickory-server passes them
    /// over; to it none is sent.
    silent_one_in: u32,
    next: u16,
    pub(crate) tally: Tally,
}

impl Client {
    /// One without a connection yet. Of what gets no answer it sends one message of so many.
    pub(crate) fn new(server: SocketAddr, engine: Engine, silent_one_in: u32) -> Self {
        Self {
            server,
            engine,
            silent_one_in,
            next: 0,
            tally: Tally::default(),
        }
    }

    /// Sends so many messages that are read, more that follow what ends a connection, an ordinary query first on each, and holds every answer.
    pub(crate) fn run(&mut self, count: usize, rng: &mut Rng, mut message: impl FnMut(&mut Rng) -> Vec<u8>) {
        let mut left = count;
        while left > 0 {
            let mut open = Vec::new();
            while open.len() < CONNECTIONS && left > 0 {
                let conversation = self.conversation(left.min(MESSAGES), rng, &mut message);
                left -= conversation.read_by_server().clamp(1, left);
                let stream = self.say(&conversation, rng);
                open.push((conversation, stream));
            }
            for (conversation, stream) in open {
                self.listen(&conversation, stream);
            }
        }
    }

    fn conversation(
        &mut self,
        most: usize,
        rng: &mut Rng,
        message: &mut impl FnMut(&mut Rng) -> Vec<u8>,
    ) -> Conversation {
        use Treatment as T;
        let treatment = match self.engine {
            Engine::Native => any(rng, &[T::Whole, T::Whole, T::InParts, T::WrongLength, T::Cut, T::Reset]),
            Engine::Portable => any(rng, &[T::Whole, T::InParts, T::Cut, T::Reset]),
        };
        let mut octets = Vec::new();
        frame(&query(0, ORDINARY.0), &mut octets);
        let mut messages = 0;
        let wrong = rng.usize(0..most);
        while messages < most && octets.len() < OCTETS {
            let mut message = message(rng);
            messages += 1;
            let id = self.next.to_be_bytes();
            self.next = self.next.wrapping_add(1);
            message.iter_mut().zip(id).for_each(|(place, octet)| *place = octet);
            let silent = Asked::read(&message, Transport::Tcp).due == Due::Silence;
            if silent && (self.engine == Engine::Portable || !one_in(rng, self.silent_one_in)) {
                continue;
            }
            let start = octets.len();
            frame(&message, &mut octets);
            if treatment == T::WrongLength && messages == wrong {
                let length = (message.len() as u16).wrapping_add(any(rng, &[1, 0xffff, 2, 0xfff0, 0x0100, 0x8000]));
                octets[start..start + 2].copy_from_slice(&length.to_be_bytes());
            }
            // It ends the connection. Something follows it sometimes.
            if silent && !one_in(rng, 4) {
                break;
            }
        }
        if treatment == T::Cut {
            octets.truncate(rng.usize(40..octets.len().max(41)));
        }
        Conversation::read(treatment, octets, messages, rng)
    }

    /// Writes it all and closes this side.
    fn say(&mut self, conversation: &Conversation, rng: &mut Rng) -> TcpStream {
        let mut stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut rest = conversation.octets.as_slice();
        let mut written = Ok(());
        while !rest.is_empty() && written.is_ok() {
            let part = match conversation.treatment {
                Treatment::InParts => rng.usize(1..400).min(rest.len()),
                _ => rest.len(),
            };
            written = stream.write_all(&rest[..part]);
            rest = &rest[part..];
        }
        let written = written.and_then(|()| match conversation.treatment {
            Treatment::Reset => Ok(()),
            _ => stream.shutdown(Shutdown::Write),
        });
        assert!(written.is_ok() || conversation.goes_on, "{written:?}");
        let tally = &mut self.tally;
        tally.sent += conversation.messages as u64 + 1;
        *tally.connections.entry(conversation.treatment.words()).or_default() += 1;
        let (due, silent) = (conversation.due.len() as u64, u64::from(conversation.is_silenced));
        if conversation.treatment == Treatment::Reset {
            tally.unknown += due + silent;
        } else {
            tally.due += due;
            tally.silent += silent;
        }
        stream
    }

    /// Reads every answer to the end of the connection.
    fn listen(&mut self, conversation: &Conversation, mut stream: TcpStream) {
        if conversation.treatment == Treatment::Reset {
            // To close with this set resets the connection.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return;
        }
        let mut answers = Vec::new();
        match stream.read_to_end(&mut answers) {
            Ok(_) => {}
            Err(error) if conversation.goes_on && error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!(
                "{error}: after {} octets of answers to {}",
                answers.len(),
                hex(&conversation.octets)
            ),
        }
        let mut rest = answers.as_slice();
        for (place, (start, end)) in conversation.due.iter().enumerate() {
            let message = &conversation.octets[*start..*end];
            let Some((answer, after)) = first_frame(rest) else {
                let told = || format!("{} of {} answered, not {}", place, conversation.due.len(), hex(message));
                assert!(conversation.goes_on, "{}: {:?}", told(), conversation.treatment);
                return;
            };
            match place {
                0 => self.tally.judge_ordinary(answer),
                _ => self.tally.judge(message, answer, Transport::Tcp, self.engine),
            }
            rest = after;
        }
        assert!(
            rest.is_empty(),
            "{} octets more than answers: {}",
            rest.len(),
            hex(rest)
        );
    }
}

impl Conversation {
    /// How many messages, without the ordinary query, the server reads for certain.
    fn read_by_server(&self) -> usize {
        match self.treatment {
            Treatment::Reset => 0,
            _ => self.due.len() - 1 + usize::from(self.is_silenced),
        }
    }

    /// Reads what is to be sent as the server has to.
    fn read(treatment: Treatment, mut octets: Vec<u8>, messages: usize, rng: &mut Rng) -> Self {
        let (mut at, mut due, mut ends) = (0, Vec::new(), None);
        while let Some((message, after)) = first_frame(&octets[at..]) {
            let end = octets.len() - after.len();
            if Asked::read(message, Transport::Tcp).due == Due::Silence {
                // Less than a header is no message at all, and not counted.
                ends = Some((end, message.len() >= 12));
                break;
            }
            due.push((end - message.len(), end));
            at = end;
        }
        if let Some((end, _)) = ends
            && rng.bool()
        {
            octets.truncate(end);
        }
        Self {
            treatment,
            messages,
            is_silenced: ends.is_some_and(|(_, is_counted)| is_counted),
            goes_on: ends.is_some_and(|(end, _)| end < octets.len()),
            octets,
            due,
        }
    }
}

fn frame(message: &[u8], octets: &mut Vec<u8>) {
    octets.extend((message.len() as u16).to_be_bytes());
    octets.extend(message);
}

/// The first whole message, and what follows it.
fn first_frame(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
