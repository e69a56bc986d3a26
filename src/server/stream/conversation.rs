//! One connection, from its first octet to its last: RFC 7766 framing over any byte stream.
//!
//! Queries are answered in the order they came; all that arrived together leave together. What a client can make us hold is
//! bounded: one query that is not whole yet, and [`HELD_MAX`] octets of answers plus the one that goes beyond. While those
//! wait to be taken nothing more is read.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::limit::Limits;
use crate::answer::Outcome;

/// No more answers are made while so many octets of them have not left.
const HELD_MAX: usize = 64 * 1024;

/// What is read at once at most, unless a single query is longer: some hundred pipelined queries. An idle connection holds this
/// much memory, so 768 of them 6 MiB.
const INBOX: usize = 8 * 1024;

/// The longest message and its length.
const FRAME_MAX: usize = 2 + u16::MAX as usize;

/// The octets of a DNS header. What is shorter is no message.
const HEADER: usize = 12;

/// How long a query that is under way may still arrive after a stop, and how long a closed connection is held for the client to
/// take its answers.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Answers the queries of one connection until the client ends it, sends what is no query, is idle too long or does not read;
/// or until `stopping`, then what has arrived is still answered. `respond` appends the framed response to a query.
///
/// Errors are those of the stream, and `TimedOut` for a client that does not take its answers.
pub async fn converse<S>(
    mut stream: S,
    limits: &Limits,
    stopping: &CancellationToken,
    mut respond: impl FnMut(&[u8], &mut Vec<u8>) -> Outcome,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
    let mut deadline = Instant::now() + limits.idle;
    let mut last_call = false;
    while Instant::now() < deadline {
        make_room(&mut inbox);
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, stream.read_buf(&mut inbox)) => read,
            () = stopping.cancelled(), if !last_call => {
                last_call = true;
                deadline = deadline.min(Instant::now() + LAST_CALL);
                continue;
            }
        };
        match read {
            Ok(Ok(0)) => return stream.shutdown().await,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_idle) => break,
        }
        loop {
            let found = answer_whole(&mut inbox, &mut outbox, &mut respond);
            if !outbox.is_empty() {
                write(&mut stream, &mut outbox, limits.write).await?;
                if !last_call {
                    deadline = Instant::now() + limits.idle;
                }
            }
            match found {
                Found::More => {}
                Found::Part => break,
                Found::Junk => return close(stream, inbox).await,
            }
        }
    }
    close(stream, inbox).await
}

/// Appends a message with its length before it (RFC 1035 4.2.2). One of more than 65,535 octets cannot be sent and is left out.
pub(super) fn frame(message: &[u8], outbox: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(message.len()) {
        outbox.extend_from_slice(&length.to_be_bytes());
        outbox.extend_from_slice(message);
    }
}

/// What is left in the inbox when no more answers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Perhaps whole queries; the outbox is full.
    More,
    /// A part of a query, or nothing.
    Part,
    /// Something that is not DNS, or that is not answered: the connection has lost its sense.
    Junk,
}

/// Answers the whole queries of the inbox and takes them out, until the outbox is full.
fn answer_whole(
    inbox: &mut Vec<u8>,
    outbox: &mut Vec<u8>,
    respond: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Outcome,
) -> Found {
    let mut rest = inbox.as_slice();
    let found = loop {
        if outbox.len() >= HELD_MAX {
            break Found::More;
        }
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            break Found::Part;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length < HEADER {
            break Found::Junk;
        }
        let Some((query, after)) = after.split_at_checked(length) else {
            break Found::Part;
        };
        if !respond(query, outbox).is_sent() {
            break Found::Junk;
        }
        rest = after;
    };
    let taken = inbox.len() - rest.len();
    inbox.drain(..taken);
    found
}

/// Leaves room to read into: [`INBOX`], or as much more as one query needs, and only as its octets really come.
fn make_room(inbox: &mut Vec<u8>) {
    if inbox.len() < INBOX && inbox.capacity() != INBOX {
        inbox.shrink_to(INBOX);
        inbox.reserve_exact(INBOX - inbox.len());
    } else if inbox.len() == inbox.capacity() {
        inbox.reserve_exact(inbox.len().min(FRAME_MAX - inbox.len()));
    }
}

/// Writes everything, at once if the stream takes it, and forgets it.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, outbox: &mut Vec<u8>, patience: Duration) -> io::Result<()> {
    let all = async {
        stream.write_all(outbox).await?;
        stream.flush().await
    };
    timeout(patience, all)
        .await
        .map_err(|_elapsed| io::Error::from(ErrorKind::TimedOut))??;
    outbox.clear();
    outbox.shrink_to(INBOX);
    Ok(())
}

/// Closes a connection from our side. To close a socket with octets unread resets it, and the reset may overtake the last
/// answers; so what the client still sends is thrown away for a moment.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, mut inbox: Vec<u8>) -> io::Result<()> {
    let farewell = async {
        stream.shutdown().await?;
        loop {
            inbox.clear();
            if stream.read_buf(&mut inbox).await? == 0 {
                return Ok(());
            }
        }
    };
    timeout(LAST_CALL, farewell).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests;
