//! DNS over UDP: one blocking thread for each socket.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Shared;
use crate::answer::{Outcome, Request, ResponseBuffer, Transport, answer};

/// The longest response that is sent in a datagram.
const RESPONSE_MAX: usize = 1232;

/// How long a receive may block before the thread looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long what has arrived is still answered after a stop.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Answers on every socket until `stop` is true and what has arrived is answered.
pub fn spawn(sockets: Vec<UdpSocket>, serving: &Shared, stop: &Arc<AtomicBool>) -> io::Result<Vec<JoinHandle<()>>> {
    sockets
        .into_iter()
        .enumerate()
        .map(|(worker, socket)| {
            socket.set_read_timeout(Some(PATIENCE))?;
            let (serving, stop) = (serving.clone(), stop.clone());
            thread::Builder::new()
                .name(format!("udp-{worker}"))
                .spawn(move || run(&socket, &serving, &stop))
        })
        .collect()
}

fn run(socket: &UdpSocket, serving: &Shared, stop: &AtomicBool) {
    let mut random = super::stream::seeded();
    let mut query = [0; 4096];
    let mut response = ResponseBuffer::with_capacity(RESPONSE_MAX);
    let mut last_call = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            let until = *last_call.get_or_insert_with(|| Instant::now() + LAST_CALL);
            if socket.set_nonblocking(true).is_err() || Instant::now() > until {
                return;
            }
        }
        match socket.recv_from(&mut query) {
            Ok((length, source)) => {
                let bytes = query.get(..length).unwrap_or_default();
                let request = Request {
                    bytes,
                    source: source.ip(),
                    transport: Transport::Udp,
                    random: random.u64(..),
                };
                if let Outcome::Answered(_) = answer(&request, &serving.load(), &mut response) {
                    let _ = socket.send_to(response.as_slice(), source);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if last_call.is_some() {
                    return;
                }
            }
            Err(_) => {}
        }
    }
}
