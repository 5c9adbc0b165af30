//! Starting, stopping and hostile connections.

mod support;

use std::{fs, net::TcpListener};

use reqwest::Client;
use server::{ServerError, disk::DataDirError};
use support::{config, start};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let client = Client::new();
    for number in 0..50 {
        let url = node.url(&format!("/v1/keyspaces/default/keys/k{number}"));
        assert_eq!(client.put(url).body(format!("v{number}")).send().await.unwrap().status(), 201);
    }
    node.stop().await;
    let node = start(config(directory.path())).await.unwrap();
    for number in 0..50 {
        let url = node.url(&format!("/v1/keyspaces/default/keys/k{number}"));
        assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), format!("v{number}"));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_load_are_each_answered_once() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let client = Client::new();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let request = client.put(node.url("/v1/keyspaces/default/keys/counter")).body(number.to_string());
        tasks.spawn(async move { request.send().await.unwrap().json::<serde_json::Value>().await.unwrap() });
    }
    let mut versions = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        versions.push(answer.unwrap()["version"].as_u64().unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=200).collect::<Vec<u64>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_says_why_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let error = start(config(directory.path())).await.err().unwrap();
    assert!(matches!(&error, ServerError::DataDir(DataDirError::InUse { .. })), "{error}");
    node.stop().await;

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config(directory.path());
    busy.http = taken.local_addr().unwrap().to_string();
    let error = start(busy).await.err().unwrap();
    assert!(matches!(&error, ServerError::Bind { address, .. } if *address == taken.local_addr().unwrap()));
    assert!(error.to_string().contains("another process listens there"), "{error}");

    let mut nowhere = config(directory.path());
    nowhere.http = "not an address".to_owned();
    let error = start(nowhere).await.err().unwrap();
    assert!(matches!(&error, ServerError::Address { .. }), "{error}");

    let mut other = config(directory.path());
    other.cluster = "ffeeddccbbaa99887766554433221100".to_owned();
    let error = start(other).await.err().unwrap();
    assert!(matches!(&error, ServerError::Identity { .. }), "{error}");
    assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");

    // A flipped byte in the middle of the log: refused, with file and offset, and nothing rewritten.
    let segment = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("wal-0"))
        .min();
    let segment = segment
        .unwrap_or_else(|| panic!("{:?}", fs::read_dir(directory.path()).unwrap().collect::<Vec<_>>()));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 40] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let error = start(config(directory.path())).await.err().unwrap();
    assert!(matches!(&error, ServerError::Log { .. }), "{error}");
    assert!(error.to_string().contains("at byte"), "{error}");
    assert!(fs::read(&segment).unwrap() == bytes, "the damaged file was rewritten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_is_answered_or_closed_and_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let inputs: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /v1/keyspaces/default/keys/a HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PUT /v1/keyspaces/default/keys/a HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"PUT /v1/keyspaces/default/keys/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
        &binary,
    ];
    for input in inputs {
        let mut stream = TcpStream::connect(node.http()).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(input).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let head = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 4"), "{head:?}");
    }
    let answer = reqwest::get(node.url("/healthz")).await.unwrap();
    assert_eq!(answer.status(), 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_arrives_ends_at_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let mut stream = TcpStream::connect(node.http()).await.unwrap();
    let head = "PUT /v1/keyspaces/default/keys/a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\
        quorate-timeout-ms: 50\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"applied\":\"not_applied\""), "{answer}");
    let missing = reqwest::get(node.url("/v1/keyspaces/default/keys/a")).await.unwrap();
    assert_eq!(missing.status(), 404);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_announced_and_never_sent_take_no_room_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let mut slow = Vec::new();
    // More than the memory for all values together, if announcing were enough.
    for number in 0..300 {
        let mut stream = TcpStream::connect(node.http()).await.unwrap();
        let head = format!(
            "PUT /v1/keyspaces/default/keys/slow-{number} HTTP/1.1\r\nhost: x\r\ncontent-length: 1048576\r\n\
             quorate-timeout-ms: 60000\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body: it is being read.
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"x").await.unwrap();
        slow.push(stream);
    }
    let url = node.url("/v1/keyspaces/default/keys/quick");
    let answer = Client::new().put(url).body(vec![7; 1024 * 1024]).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    drop(slow);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_or_read_nothing_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    let client = Client::new();
    let key = "/v1/keyspaces/default/keys/large";
    assert_eq!(client.put(node.url(key)).body(vec![7; 1024 * 1024]).send().await.unwrap().status(), 201);

    let mut idle = TcpStream::connect(node.http()).await.unwrap();
    let mut unread = TcpStream::connect(node.http()).await.unwrap();
    // Answers that fit no socket's buffers.
    let request = format!("GET {key} HTTP/1.1\r\nhost: x\r\n\r\n");
    unread.write_all(request.repeat(32).as_bytes()).await.unwrap();

    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    let only_ours = async {
        loop {
            // On a connection of its own: the client's last one is just being closed for its silence.
            let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
            let metrics = client.get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
            if metrics.contains("\nquorate_http_connections 1\n") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, only_ours).await.expect("a client that does not read loses its connection");
    drop(unread);
    node.stop().await;
}
