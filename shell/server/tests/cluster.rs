//! Three real nodes in one process, over mutual TLS: forwarding, losing the quorum, and coming back.

mod support;

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use server::{
    ServerConfig,
    config::{Member, TlsFiles},
    tls::CertificateAuthority,
};
use support::{config, start};
use types::{ClusterId, NodeId};

/// Generous: a loaded machine elects slowly.
const RESUME_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports that were free a moment ago.
fn ports() -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn configs(directory: &Path) -> Vec<ServerConfig> {
    let authority = CertificateAuthority::open_or_create(&directory.join("ca")).unwrap();
    let members: Vec<Member> = ports()
        .into_iter()
        .zip(0..)
        .map(|(port, node)| Member { node, peer: Some(format!("127.0.0.1:{port}")), http: None })
        .collect();
    (0..3)
        .map(|node| {
            let mut config = config(&directory.join(node.to_string()));
            let cluster: ClusterId = config.cluster.parse().unwrap();
            let files = authority.issue(cluster, NodeId(node)).unwrap();
            config.node = node;
            config.members = members.clone();
            config.compress = true;
            config.tls =
                Some(TlsFiles { authority: files.authority, certificate: files.certificate, key: files.key });
            config
        })
        .collect()
}

/// The term of the keyspace `default` at a node.
async fn term(node: &support::Running) -> u64 {
    let status: Value = reqwest::get(node.url("/v1/status")).await.unwrap().json().await.unwrap();
    status["term"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_may_be_asked_and_a_minority_refuses_promptly() {
    let directory = tempfile::tempdir().unwrap();
    let configs = configs(directory.path());
    let (first, second, third) =
        tokio::join!(start(configs[0].clone()), start(configs[1].clone()), start(configs[2].clone()));
    let nodes = [first.unwrap(), second.unwrap(), third.unwrap()];
    let client = Client::new();

    // Written through each node, read through every other.
    for (number, node) in nodes.iter().enumerate() {
        let put =
            client.put(node.url(&format!("/v1/keyspaces/default/keys/k{number}"))).body(number.to_string());
        let answer: Value = put.send().await.unwrap().json().await.unwrap();
        assert!(answer["receipt"]["acks"]["durable"].as_u64().unwrap() >= 2, "{answer}");
        for other in &nodes {
            let read =
                reqwest::get(other.url(&format!("/v1/keyspaces/default/keys/k{number}"))).await.unwrap();
            assert_eq!(read.text().await.unwrap(), number.to_string());
        }
    }

    // Far more at once than the queue to the leader holds, through every node: each is answered by its
    // turn, written or surely not, and none is lost on the way to the leader.
    let before = term(&nodes[0]).await;
    let mut large = tokio::task::JoinSet::new();
    for number in 0..120 {
        let url = nodes[number % 3].url(&format!("/v1/keyspaces/default/keys/large{number}"));
        let put = client.put(url).header("quorate-timeout-ms", "60000").body(vec![7; 1024 * 1024]);
        large.spawn(async move { put.send().await.unwrap().status().as_u16() });
    }
    let statuses = large.join_all().await;
    // A machine so busy that the leader is not heard in time elects another: what it was working on ends as unknown.
    let answers: &[u16] = if term(&nodes[0]).await == before { &[201, 429] } else { &[201, 429, 503] };
    assert!(statuses.iter().all(|status| answers.contains(status)), "{statuses:?}");
    assert!(statuses.contains(&201), "{statuses:?}");

    let [first, second, third] = nodes;
    second.stop().await;
    third.stop().await;
    let put =
        client.put(first.url("/v1/keyspaces/default/keys/k9")).header("quorate-timeout-ms", "3000").body("x");
    let refused = put.send().await.unwrap();
    let status_code = refused.status().as_u16();
    let problem: Value = refused.json().await.unwrap();
    assert_eq!((status_code, &problem["code"]), (503, &"NO_QUORUM".into()), "{problem}");

    // One comes back, and service resumes by itself.
    let second = start(configs[1].clone()).await.unwrap();
    let end = Instant::now() + RESUME_TIMEOUT;
    loop {
        assert!(Instant::now() < end, "service did not resume");
        let read = reqwest::get(first.url("/v1/keyspaces/default/keys/k1")).await.unwrap();
        if read.status() == 200 {
            assert_eq!(read.text().await.unwrap(), "1");
            break;
        }
        assert!([503, 504].contains(&read.status().as_u16()), "{read:?}");
    }
    let metrics = reqwest::get(first.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nquorate_peer_connected{peer=\"1\"} 1"), "{metrics}");
    assert!(metrics.contains("\nquorate_peer_messages_sent_total{peer=\"1\"}"), "{metrics}");
    first.stop().await;
    second.stop().await;
}
