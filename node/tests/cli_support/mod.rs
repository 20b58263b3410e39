//! Running the program, and a node of it, in a directory that goes away.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use starling_node::cli::NodeFile;
use tempfile::TempDir;

/// How long anything may take that should take no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `ready` gives something.
pub(crate) fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a run of the program ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The output of a run that must have gone well, without the line's end.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out.trim_end().to_owned()
    }

    /// Checks the exit code and that the message has these parts.
    pub(crate) fn fails(self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains("error: "), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is missing in: {}", self.err);
        }
    }
}

/// A directory to work in.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    /// Runs the program to its end, with a variable in its environment.
    pub(crate) fn run_env(&self, args: &[&str], name: &str, value: &str) -> Run {
        let mut command = self.command(args);
        command.env(name, value);
        Self::finish(command, "")
    }

    /// Runs the program to its end, with a text on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Run {
        Self::finish(self.command(args), input)
    }

    /// Starts the program for somebody who does not read what it says; gives how it ended and its messages.
    pub(crate) fn run_unread(&self, args: &[&str]) -> (ExitStatus, String) {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    fn finish(command: Command, input: &str) -> Run {
        let output = assert_cmd::Command::from_std(command).write_stdin(input).timeout(PATIENCE).output().unwrap();
        let Output { status, stdout, stderr } = output;
        let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert!(!err.contains("fault in the program"), "{err}");
        Run { code: status.code().unwrap_or(-1), out, err }
    }

    /// Makes a key and gives its account.
    pub(crate) fn key(&self, name: &str) -> String {
        self.run(&["keys", "new", name]).ok()
    }

    /// Starts a node in a data directory and waits until it is up. It ends with the test whatever happens.
    pub(crate) fn node(&self, data_dir: &str, more: &[&str]) -> Node {
        let mut args = vec!["run", "--data-dir", data_dir, "--until-stdin-closes"];
        args.extend(more);
        let log = fs::File::create(self.path(&format!("{data_dir}.log"))).unwrap();
        let child = self.command(&args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let dir = self.path(data_dir);
        let mut node = Node { child, dir: dir.clone(), file: None };
        node.file = Some(wait("node.json", || {
            let log = || fs::read_to_string(dir.with_extension("log"));
            assert!(node.child.try_wait().unwrap().is_none(), "the node ended: {:?}", log());
            NodeFile::read(&dir).ok()
        }));
        node
    }
}

/// A running node.
pub(crate) struct Node {
    child: Child,
    dir: PathBuf,
    file: Option<NodeFile>,
}

impl Node {
    pub(crate) fn file(&self) -> &NodeFile {
        self.file.as_ref().unwrap()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// A connection with a request that never ends: an orderly end takes a second with it.
    pub(crate) fn unfinished_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.file().rpc.strip_prefix("http://").unwrap()).unwrap();
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        // The answer to the expectation shows that the node is working on it.
        stream.write_all(format!("{head}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n").as_bytes()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        stream
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the node's end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait("the node's end", || child.try_wait().unwrap())
    }

    /// Sends an HTTP request and gives the status, whatever becomes of the connection.
    pub(crate) fn status(&self, path: &str, headers: &str) -> u16 {
        let mut stream = TcpStream::connect(self.file().rpc.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut start = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut start).unwrap();
        std::str::from_utf8(&start).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Opens a WebSocket (RFC 6455).
    pub(crate) fn socket(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.file().rpc.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let head =
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        self.hear(&mut stream, "\r\n\r\n");
        stream
    }

    /// Sends a short text on a WebSocket, masked with zeros.
    pub(crate) fn say(&self, stream: &mut TcpStream, text: &str) {
        assert!(text.len() < 126);
        let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
        stream.write_all(&frame).unwrap();
    }

    /// Reads until a text has come, and gives all that came.
    pub(crate) fn hear(&self, stream: &mut TcpStream, text: &str) -> String {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(text.as_bytes()) {
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Sends an HTTP request with its headers and body; gives the status and the rest of the answer.
    pub(crate) fn http(&self, request: &str) -> (u16, String) {
        let address = self.file().rpc.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> (u16, String) {
        self.http(&format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
    }

    /// Posts JSON-RPC and gives the answer.
    pub(crate) fn post(&self, body: &str) -> (u16, String) {
        self.http(&format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        ))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
