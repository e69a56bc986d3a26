//! Framing and time, on a stream in memory with a clock moved by hand. The responder echoes the query.

use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::collection::vec;
use proptest::{prop_assert, prop_assert_eq, proptest};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::*;
use crate::wire::code::Rcode;

/// What a query with this last octet is answered with is nothing.
const UNANSWERED: u8 = 0xFF;

struct Talk {
    client: DuplexStream,
    stopping: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

/// A conversation over a stream that holds so many octets each way; each answer is the query and `padding`.
fn talk(capacity: usize, padding: usize) -> Talk {
    let (client, stream) = duplex(capacity);
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    let server = tokio::spawn(async move {
        let respond = |query: &[u8], outbox: &mut Vec<u8>| {
            if query.last() == Some(&UNANSWERED) {
                return Outcome::Dropped;
            }
            frame(&[query, &vec![0; padding]].concat(), outbox);
            Outcome::Answered(Rcode::NOERROR)
        };
        converse(stream, &Limits::default(), &stop, respond).await
    });
    Talk {
        client,
        stopping,
        server,
    }
}

/// A query of 20 octets that tells its number, framed.
fn query(number: u16) -> Vec<u8> {
    let mut framed = vec![0, 20];
    framed.extend_from_slice(&number.to_be_bytes());
    framed.resize(22, 0);
    framed
}

async fn read(client: &mut DuplexStream) -> Vec<u8> {
    let length = client.read_u16().await.unwrap();
    let mut message = vec![0; length.into()];
    client.read_exact(&mut message).await.unwrap();
    message
}

#[tokio::test(start_paused = true)]
async fn a_hundred_queries_of_one_write_are_answered_in_order() {
    let Talk { mut client, server, .. } = talk(1 << 20, 0);
    let sent: Vec<u8> = (0..100).flat_map(query).collect();
    client.write_all(&sent).await.unwrap();
    let mut received = vec![0; sent.len()];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_answers_of_one_read_are_one_write() {
    let sent: Vec<u8> = (0..100).flat_map(query).collect();
    let (mut inbox, mut outbox) = (sent.clone(), Vec::new());
    let found = answer_whole(&mut inbox, &mut outbox, &mut |query, outbox| {
        frame(query, outbox);
        Outcome::Answered(Rcode::NOERROR)
    });
    assert_eq!((found, inbox.len()), (Found::Part, 0));
    let mut stream = Writes::default();
    write(&mut stream, &mut outbox, Duration::from_secs(1)).await.unwrap();
    assert_eq!(stream.0, [sent.len()]);
}

/// A stream that tells the length of every write.
#[derive(Default)]
struct Writes(Vec<usize>);

impl AsyncWrite for Writes {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.0.push(octets.len());
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_may_come_octet_by_octet() {
    let Talk { mut client, .. } = talk(1, 0);
    let (mut from, mut to) = tokio::io::split(&mut client);
    let sent = query(7);
    let write = async {
        for octet in &sent {
            to.write_all(&[*octet]).await.unwrap();
            advance(Duration::from_millis(1)).await;
        }
    };
    let mut received = vec![0; sent.len()];
    let (_, all) = tokio::join!(write, from.read_exact(&mut received));
    all.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_trickles_is_cut_at_the_idle_timeout() {
    let Talk { mut client, server, .. } = talk(1 << 10, 0);
    let start = Instant::now();
    for octet in query(1) {
        if client.write_all(&[octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.await.unwrap().unwrap();
    let lasted = Instant::now() - start;
    assert!(
        lasted >= Duration::from_secs(10) && lasted < Duration::from_secs(12),
        "{lasted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_whole_query_moves_the_idle_timeout_on() {
    let Talk { mut client, server, .. } = talk(1 << 10, 0);
    let start = Instant::now();
    for number in 0..5 {
        client.write_all(&query(number)).await.unwrap();
        assert_eq!(read(&mut client).await[..2], number.to_be_bytes());
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    server.await.unwrap().unwrap();
    assert_eq!((Instant::now() - start).as_secs(), 4 * 9 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_and_holds_little() {
    // The stream takes 1,000 octets; 400 answers of 1,020 octets are far more than may be held.
    let (client, stream) = duplex(1000);
    let (mut from, mut to) = tokio::io::split(client);
    let (asked, mut made) = (400, 0);
    let writer = tokio::spawn(async move {
        for number in 0..asked {
            if to.write_all(&query(number)).await.is_err() {
                break;
            }
        }
    });
    let respond = |_: &[u8], outbox: &mut Vec<u8>| {
        made += 1;
        frame(&[0; 1020], outbox);
        Outcome::Answered(Rcode::NOERROR)
    };
    let start = Instant::now();
    let end = converse(stream, &Limits::default(), &CancellationToken::new(), respond).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!((Instant::now() - start).as_secs(), 10);
    assert!(made * 1022 <= HELD_MAX + 1022, "{made} answers were made for nobody");
    // It took what the stream holds and no more.
    let mut taken = Vec::new();
    from.read_to_end(&mut taken).await.unwrap();
    assert_eq!(taken.len(), 1000);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_beyond_the_bound_leave_in_turns() {
    // One read brings 300 queries whose answers are 600 KB.
    let Talk { mut client, .. } = talk(1 << 14, 2000);
    let sent: Vec<u8> = (0..300).flat_map(query).collect();
    client.write_all(&sent).await.unwrap();
    for number in 0..300_u16 {
        let answer = read(&mut client).await;
        assert_eq!((answer.len(), &answer[..2]), (2020, number.to_be_bytes().as_slice()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_query_closes_after_the_answers_before_it() {
    let unanswered = [query(2), vec![0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UNANSWERED]].concat();
    let empty = [query(2), vec![0, 0]].concat();
    let short = [query(2), vec![0, 11], vec![0; 11]].concat();
    for sent in [unanswered, empty, short] {
        let Talk { mut client, server, .. } = talk(1 << 10, 0);
        client.write_all(&sent).await.unwrap();
        client.write_all(&query(3)).await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, query(2));
        drop(client);
        server.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_query_is_taken_and_its_memory_given_back() {
    let Talk { mut client, .. } = talk(1 << 12, 0);
    let mut longest = vec![0xFF, 0xFF];
    longest.resize(FRAME_MAX, 1);
    let (mut from, mut to) = tokio::io::split(&mut client);
    let mut received = vec![0; longest.len()];
    let (sent, all) = tokio::join!(to.write_all(&longest), from.read_exact(&mut received));
    sent.unwrap();
    all.unwrap();
    assert!(received == longest);

    let mut inbox = Vec::new();
    make_room(&mut inbox);
    assert_eq!(inbox.capacity(), INBOX);
    while inbox.len() < FRAME_MAX {
        inbox.resize(inbox.capacity(), 1);
        make_room(&mut inbox);
        assert!(inbox.capacity() <= FRAME_MAX);
    }
    inbox.clear();
    make_room(&mut inbox);
    assert_eq!(inbox.capacity(), INBOX);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_has_arrived_and_closes() {
    let Talk {
        mut client,
        stopping,
        server,
    } = talk(1 << 16, 0);
    let sent: Vec<u8> = (0..500).flat_map(query).collect();
    let (whole, part) = sent.split_at(sent.len() - 5);
    client.write_all(whole).await.unwrap();
    stopping.cancel();
    // The last query was under way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.write_all(part).await.unwrap();
    let mut received = vec![0; sent.len()];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_ceases_does_not_hold_a_stop_up() {
    let Talk {
        client,
        stopping,
        server,
    } = talk(1 << 10, 0);
    let (mut from, mut to) = tokio::io::split(client);
    let reader = tokio::spawn(async move { from.read_to_end(&mut Vec::new()).await });
    let writer = tokio::spawn(async move {
        while to.write_all(&query(1)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!server.is_finished());
    stopping.cancel();
    let start = Instant::now();
    server.await.unwrap().unwrap();
    assert!(Instant::now() - start <= 3 * LAST_CALL);
    reader.await.unwrap().unwrap();
    writer.await.unwrap();
}

proptest! {
    /// However the octets of queries are cut by the network, the answers are those of the whole.
    #[test]
    fn no_cut_changes_an_answer(
        lengths in vec(HEADER..2000, 1..20),
        chunks in vec(1..3000_usize, 1..40),
    ) {
        let sent: Vec<u8> = lengths
            .iter()
            .flat_map(|&length| [&(length as u16).to_be_bytes()[..], &vec![length as u8; length]].concat())
            .collect();
        let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
        let mut rest = sent.as_slice();
        for chunk in chunks.into_iter().cycle() {
            let (arrived, after) = rest.split_at(chunk.min(rest.len()));
            rest = after;
            make_room(&mut inbox);
            inbox.extend_from_slice(arrived);
            let found = answer_whole(&mut inbox, &mut outbox, &mut |query, outbox| {
                frame(query, outbox);
                Outcome::Answered(Rcode::NOERROR)
            });
            prop_assert_eq!(found, Found::Part);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(inbox.is_empty());
        prop_assert!(outbox == sent);
    }
}
