//! `quorate server` as a process under limits that the operating system imposes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

const CLUSTER: &str = "000102030405060708090a0b0c0d0e0f";
const CONFIG: &str = "http = \"127.0.0.1:0\"\n[limits]\nsegment_bytes = 8388608\ndisk_free_bytes_min = 0\n";

/// A node in a process of its own; killed when dropped.
struct Node {
    child: Child,
    http: SocketAddr,
    stderr: ChildStderr,
}

impl Node {
    /// Starts it in a shell that has run `limits` before, and waits until it leads.
    fn start(dir: &Path, limits: &str) -> Node {
        let data_dir = dir.join("node");
        let config = dir.join("server.toml");
        let text = format!("cluster = \"{CLUSTER}\"\nnode = 0\ndata_dir = {data_dir:?}\n{CONFIG}");
        fs::write(&config, text).expect("written");
        let script = format!("{limits}; exec \"$0\" server --ready-json --config \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_quorate")])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut ready).expect("a line");
        let stderr = child.stderr.take().expect("a pipe");
        let address = ready.split("http://").nth(1).and_then(|rest| rest.split('"').next());
        let http = address.unwrap_or_else(|| panic!("not ready: {ready:?}")).parse().expect("an address");
        let mut node = Node { child, http, stderr };
        let mut connection = node.connect();
        let deadline = Instant::now() + Duration::from_secs(30);
        while request(&mut connection, "GET", "/readyz", b"") != 200 {
            assert!(Instant::now() < deadline, "the node is not ready within 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
        node
    }

    fn connect(&mut self) -> TcpStream {
        let connection = TcpStream::connect(self.http).expect("connected");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
        connection
    }

    fn limit(&self, resource: Resource, current: u64) {
        let pid = Pid::from_child(&self.child);
        let limit = Rlimit { current: Some(current), maximum: None };
        prlimit(Some(pid), resource, limit).expect("a limit of our own child");
    }

    /// How it ended by itself, and what it said.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        (self.child.wait().expect("an end").code(), said)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection that stays open; answers the status, 0 if there was none.
fn request(connection: &mut TcpStream, method: &str, path: &str, body: &[u8]) -> u16 {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let sent = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body));
    if sent.is_err() {
        return 0;
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if length.is_none_or(|length: usize| rest.len() >= length) {
                return head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            }
        }
        match connection.read(&mut buffer) {
            Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
            _ => return 0,
        }
    }
}

#[test]
fn idle_connections_never_take_the_descriptors_that_the_log_needs() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(dir.path(), "ulimit -n 96");
    let mut writer = node.connect();
    assert_eq!(request(&mut writer, "PUT", "/v1/keyspaces/default/keys/first", b"x"), 201);
    let idle: Vec<TcpStream> = (0..100).map(|_| node.connect()).collect();
    // Several segments of the log: each is a file to open.
    let value = vec![7; 1024 * 1024];
    for number in 0..40 {
        let path = format!("/v1/keyspaces/default/keys/large-{number}");
        assert_eq!(request(&mut writer, "PUT", &path, &value), 201, "{path}");
    }
    drop(idle);
    let mut late = node.connect();
    assert_eq!(request(&mut late, "GET", "/healthz", b""), 200);
    node.child.kill().expect("it lives");
    let (_, said) = node.ended();
    assert!(said.contains("fewer HTTP connections"), "{said}");
    assert!(!said.contains("Too many open files"), "{said}");
}

#[test]
fn a_disk_that_fails_under_a_write_ends_the_process_with_74_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(dir.path(), "trap '' XFSZ");
    let mut connection = node.connect();
    assert_eq!(request(&mut connection, "PUT", "/v1/keyspaces/default/keys/kept", b"x"), 201);
    // From here on every write to a file fails, and not for want of space.
    node.limit(Resource::Fsize, 1);
    assert_eq!(request(&mut connection, "PUT", "/v1/keyspaces/default/keys/refused", b"x"), 0);
    let (code, said) = node.ended();
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("write-ahead log") && said.contains("File too large"), "{said}");

    let mut node = Node::start(dir.path(), ":");
    let mut connection = node.connect();
    assert_eq!(request(&mut connection, "GET", "/v1/keyspaces/default/keys/kept", b""), 200);
    assert_eq!(request(&mut connection, "GET", "/v1/keyspaces/default/keys/refused", b""), 404);
}

#[test]
fn mistakes_are_told_as_json_to_a_program() {
    for arguments in
        [&["get", "--json"][..], &["--json", "get", "x", "--bogus"], &["dev", "--nodes", "0", "--json"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_quorate")).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert!(error["error"]["message"].is_string(), "{error}");
        assert!(output.stdout.is_empty());
    }
    let help =
        Command::new(env!("CARGO_BIN_EXE_quorate")).args(["--json", "--help"]).output().expect("it runs");
    assert!(help.status.success() && !help.stdout.is_empty());
}
