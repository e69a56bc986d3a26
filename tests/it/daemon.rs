//! The real daemon, run in a folder of its own, and what a client says to it.
//!
//! Ports are found by the daemon and read from what it prints; nothing waits for time to pass, only for conditions, each with
//! the same generous [`DEADLINE`]. A daemon that is dropped is killed.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::atlases::octets_of;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The settings of a daemon whose files include no windrose.toml.
pub(crate) const SETTINGS: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\n[control]\nlisten = \"\"\n";

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    stdout: Arc<Told>,
    stderr: Arc<Told>,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Daemon {
    /// Starts `serve` with these files (a path below its folder, and the text) and waits until it answers.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        Self::spawn(files, &["serve"]).wait_until_ready()
    }

    /// The same with so many descriptors at most.
    pub(crate) fn start_with_descriptors(files: &[(&str, &str)], descriptors: usize) -> Self {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_windrose"), "serve"]);
        Self::launch(files, shell.stdout(Stdio::piped())).wait_until_ready()
    }

    /// Starts any command and waits for nothing.
    pub(crate) fn spawn(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windrose"));
        Self::launch(files, command.args(arguments).stdout(Stdio::piped()))
    }

    /// The same with a stdout that nobody reads: to write to it is an error.
    pub(crate) fn spawn_unread(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windrose"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Self::launch(files, command.args(arguments).stdout(writer))
    }

    fn launch(files: &[(&str, &str)], command: &mut Command) -> Self {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "windrose.toml", SETTINGS);
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        for (path, text) in files {
            write(folder.path(), path, text);
        }
        command
            .current_dir(folder.path())
            // What it leaves behind when it is killed goes with the folder.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map_or_else(Told::nothing, Told::by);
        let stderr = child.stderr.take().map_or_else(Told::nothing, Told::by);
        Self {
            child,
            folder,
            addresses: Vec::new(),
            stdout,
            stderr,
        }
    }

    fn wait_until_ready(mut self) -> Self {
        let listening = self.wait_for_output("ready: ");
        let addresses = listening
            .lines()
            .filter_map(|line| line.strip_prefix("listening on ")?.split(' ').next());
        self.addresses = addresses.map(|address| address.parse().unwrap()).collect();
        self
    }

    /// The first address that it is bound to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Every address that it is bound to.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What of its log has been read so far: to look for something, wait for it.
    pub(crate) fn log(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a line of stdout with these words, and returns stdout up to its end.
    pub(crate) fn wait_for_output(&self, words: &str) -> String {
        self.stdout
            .wait_for(0, words)
            .unwrap_or_else(|| panic!("no `{words}`: {}", self.stderr.text()))
    }

    /// Waits for such a line after the first so many octets of stdout, and returns what stands from there to its end.
    pub(crate) fn wait_for_output_after(&self, from: usize, words: &str) -> String {
        let told = self.stdout.wait_for(from, words);
        told.unwrap_or_else(|| panic!("no `{words}` after {from} octets: {}", self.stdout.text()))
    }

    /// Waits for a line of the log with these words, and returns the log up to its end.
    pub(crate) fn wait_for_log(&self, words: &str) -> String {
        self.stderr
            .wait_for(0, words)
            .unwrap_or_else(|| panic!("no `{words}` in: {}", self.stderr.text()))
    }

    /// Writes a file of its folder, whole at once.
    pub(crate) fn write(&self, path: &str, text: &str) {
        write(self.folder.path(), path, text);
    }

    /// Removes a file of its folder.
    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.path().join(path)).unwrap();
    }

    /// Where a file of its folder is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Runs another command in its folder to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windrose"));
        command.args(arguments).current_dir(self.folder.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        Ended {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Sends SIGHUP, waits for the end of the reload and returns what was logged about it.
    pub(crate) fn reload(&self) -> String {
        let before = self.stderr.text().len();
        self.signal("HUP");
        let told = self.stderr.wait_for(before, "reload");
        told.unwrap_or_else(|| panic!("no word of the reload in: {}", self.stderr.text()))
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        Ended {
            status: status.unwrap(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    /// A TCP connection to its first address.
    pub(crate) fn connect(&self) -> Stream {
        self.connect_from("127.0.0.1")
    }

    /// The same from another address of the loopback network.
    pub(crate) fn connect_from(&self, source: &str) -> Stream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0).into())
            .unwrap();
        socket.connect(&self.address().into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Stream(stream)
    }

    /// Asks over UDP and returns the response.
    pub(crate) fn ask(&self, name: &str) -> Response {
        ask(self.address(), name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command in a folder with these files to its end.
pub(crate) fn run(files: &[(&str, &str)], arguments: &[&str]) -> Ended {
    Daemon::spawn(files, arguments).wait()
}

/// Asks for A records over UDP.
pub(crate) fn ask(address: SocketAddr, name: &str) -> Response {
    let local = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(local).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(&query(7, name), address).unwrap();
    let mut octets = [0; 65_535];
    let (length, _) = socket.recv_from(&mut octets).unwrap();
    Response(octets[..length].to_vec())
}

/// A query for A records, plain.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut octets = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// The same with its length before it.
pub(crate) fn framed(id: u16, name: &str) -> Vec<u8> {
    let query = query(id, name);
    [&(query.len() as u16).to_be_bytes()[..], &query].concat()
}

/// A connection as a client has it.
pub(crate) struct Stream(pub(crate) TcpStream);

impl Stream {
    /// Sends octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).unwrap();
    }

    /// The next response; `None` if the connection is closed.
    pub(crate) fn receive(&mut self) -> Option<Response> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            Err(error) => panic!("{error}"),
        }
        let mut octets = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut octets).unwrap();
        Some(Response(octets))
    }

    /// Asks and waits for the response; `None` if the connection is closed instead.
    pub(crate) fn ask(&mut self, id: u16, name: &str) -> Option<Response> {
        // Of a connection that was closed at once, writing may tell already.
        self.0.write_all(&framed(id, name)).ok()?;
        self.receive()
    }
}

/// A response, as far as these tests look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response(pub(crate) Vec<u8>);

impl Response {
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// The response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub(crate) fn rcode(&self) -> u8 {
        self.0[3] & 15
    }

    /// Whether some A record of it may hold this address: whether its four octets stand in it.
    pub(crate) fn holds(&self, address: [u8; 4]) -> bool {
        self.0.windows(4).any(|octets| octets == address)
    }
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a file by renaming, so that nobody reads half of it.
fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let draft = folder.join("draft~");
    std::fs::write(&draft, octets_of(text)).unwrap();
    std::fs::rename(draft, path).unwrap();
}

/// What a process has written so far.
#[derive(Default)]
struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Told {
    /// By nobody.
    fn nothing() -> Arc<Self> {
        Self::by(std::io::empty())
    }

    /// Reads to the end, in a thread.
    fn by(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let told = Arc::new(Self::default());
        let writer = told.clone();
        thread::spawn(move || {
            let mut octets = [0; 4096];
            loop {
                let length = pipe.read(&mut octets).unwrap_or(0);
                let mut state = writer.state.lock().unwrap();
                state.text.push_str(&String::from_utf8_lossy(&octets[..length]));
                state.ended = length == 0;
                writer.changed.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        told
    }

    fn text(&self) -> String {
        self.state.lock().unwrap().text.clone()
    }

    /// Everything, once its writer has ended.
    fn all(&self) -> String {
        let state = self.state.lock().unwrap();
        self.changed
            .wait_timeout_while(state, DEADLINE, |state| !state.ended)
            .unwrap()
            .0
            .text
            .clone()
    }

    /// Waits for a whole line with these words after `from`; returns everything from there to the line's end.
    fn wait_for(&self, from: usize, words: &str) -> Option<String> {
        let found = |state: &State| {
            let text = &state.text[from..];
            let at = text.find(words)?;
            Some(text[..at + text[at..].find('\n')?].to_owned())
        };
        let state = self.state.lock().unwrap();
        let waiting = |state: &mut State| found(state).is_none() && !state.ended;
        found(&self.changed.wait_timeout_while(state, DEADLINE, waiting).unwrap().0)
    }
}
