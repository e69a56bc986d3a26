//! A client over UDP: messages leave a batch at a time, an ordinary query last, and the next batch leaves when every answer that is due is
//! in. So nothing is lost for want of room, and an answer that is not due is noticed: it has the ID of a message that waits for none.

use std::net::{SocketAddr, UdpSocket};

use fastrand::Rng;
use windrose::answer::Transport;

use super::asked::{Asked, Due};
use super::tally::Tally;
use super::world::{Engine, ORDINARY};
use crate::daemon::{DEADLINE, query};
use crate::message::hex;

/// Messages of a batch, and octets of them: what the buffers of both sockets hold for certain.
const BATCH: usize = 64;
const BATCH_OCTETS: usize = 32 * 1024;

/// A message that was sent, until another has its ID.
#[derive(Debug, Clone, Default)]
struct Sent {
    octets: Vec<u8>,
    is_due: bool,
}

/// The client.
pub(crate) struct Client {
    socket: UdpSocket,
    engine: Engine,
    /// By ID.
    sent: Vec<Sent>,
    next: u16,
    waiting: usize,
    pub(crate) tally: Tally,
}

impl Client {
    /// One with a socket of its own.
    pub(crate) fn new(server: SocketAddr, engine: Engine) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self {
            socket,
            engine,
            sent: vec![Sent::default(); 1 << 16],
            next: 0,
            waiting: 0,
            tally: Tally::default(),
        }
    }

    /// Sends so many messages, and ordinary queries between them, and holds every answer.
    pub(crate) fn run(&mut self, count: usize, rng: &mut Rng, mut message: impl FnMut(&mut Rng) -> Vec<u8>) {
        let mut left = count;
        let mut answer = vec![0; 65_535];
        while left > 0 {
            let mut octets = 0;
            for _ in 0..(BATCH - 1).min(left) {
                let message = message(rng);
                octets += message.len();
                self.send(message);
                left -= 1;
                if octets > BATCH_OCTETS {
                    break;
                }
            }
            let ordinary = self.next;
            self.send(query(0, ORDINARY.0));
            while self.waiting > 0 {
                let received = self.socket.recv(&mut answer);
                let length = received.unwrap_or_else(|error| panic!("{error}: no answer to {}", self.waited_for()));
                self.receive(&answer[..length], ordinary);
            }
        }
    }

    fn send(&mut self, mut octets: Vec<u8>) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        octets
            .iter_mut()
            .zip(id.to_be_bytes())
            .for_each(|(place, octet)| *place = octet);
        let is_due = Asked::read(&octets, Transport::Udp).due != Due::Silence;
        self.socket.send(&octets).unwrap();
        self.tally.sent += 1;
        self.tally.due += u64::from(is_due);
        self.tally.silent += u64::from(!is_due);
        self.waiting += usize::from(is_due);
        self.sent[usize::from(id)] = Sent { octets, is_due };
    }

    fn receive(&mut self, answer: &[u8], ordinary: u16) {
        let [high, low, ..] = answer else {
            panic!("an answer of {} octets", answer.len());
        };
        let id = u16::from_be_bytes([*high, *low]);
        let sent = &mut self.sent[usize::from(id)];
        if std::mem::take(&mut sent.is_due) {
            self.waiting -= 1;
        } else {
            // hickory-server answers a response that it cannot read.
            let allowed = self.engine == Engine::Portable && sent.octets.len() >= 12 && sent.octets[2] & 0x80 != 0;
            let told = format!(
                "{} gets a second answer, or one too many: {}",
                hex(&sent.octets),
                hex(answer)
            );
            assert!(allowed, "{told}");
        }
        match id == ordinary {
            true => self.tally.judge_ordinary(answer),
            false => self.tally.judge(&sent.octets, answer, Transport::Udp, self.engine),
        }
    }

    fn waited_for(&self) -> String {
        let waiting = self.sent.iter().filter(|sent| sent.is_due);
        waiting.map(|sent| hex(&sent.octets)).collect::<Vec<_>>().join("\nand ")
    }
}
