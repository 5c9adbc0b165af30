//! Watches, reads at a revision and compaction over HTTP, from outside.

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{Running, config, start};

async fn node() -> (tempfile::TempDir, Running) {
    let directory = tempfile::tempdir().unwrap();
    let running = start(config(directory.path())).await.unwrap();
    (directory, running)
}

async fn put(node: &Running, key: &str, value: &str) -> u64 {
    let url = node.url(&format!("/v1/keyspaces/default/keys/{key}"));
    let answer = Client::new().put(url).body(value.to_owned()).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.json::<Value>().await.unwrap()["revision"].as_u64().unwrap()
}

async fn compact(node: &Running, revision: u64) -> (StatusCode, Value) {
    let url = node.url("/v1/keyspaces/default/compact");
    let body = json!({"revision": revision}).to_string();
    let answer = Client::new().post(url).body(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// One server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

/// A stream of them, comments left out.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(node: &Running, query: &str) -> Events {
        let response =
            Client::new().get(node.url(&format!("/v1/keyspaces/default/watch?{query}"))).send().await;
        Events::of(response.unwrap())
    }

    fn of(response: Response) -> Events {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.starts_with(':') {
                    continue;
                }
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                return Some(Event {
                    name: field("event").unwrap(),
                    id: field("id").map(|id| id.parse().unwrap()),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn changes(&mut self) -> Event {
        loop {
            let event = self.next().await.unwrap();
            if event.name == "changes" {
                return event;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_every_revision_with_its_id() {
    let (_directory, node) = node().await;
    let first = put(&node, "a%2Fb", "1").await;
    let mut events = Events::open(&node, &format!("prefix=a&from_revision={first}&prev=true")).await;
    let started = events.next().await.unwrap();
    assert_eq!((started.name.as_str(), started.id), ("started", Some(first - 1)));
    assert_eq!(started.data["from_revision"], first);
    assert_eq!(started.data["receipt"]["keyspace"], "default");
    let told = events.next().await.unwrap();
    let version = json!({"type": "put", "key": "a/b", "key_base64": "YS9i", "create_revision": first, "mod_revision": first,
        "version": 1, "value_base64": "MQ==", "prev_revision": 0});
    assert_eq!(told.data, json!({"revision": first, "events": [version]}));

    let url = node.url("/v1/keyspaces/default/txn");
    let txn = json!({"then": [{"put": {"key": "a", "value": "2"}}, {"delete": {"key": "a/b"}}, {"put": {"key": "b", "value": "3"}}]});
    Client::new().post(url).body(txn.to_string()).send().await.unwrap();
    let told = events.changes().await;
    assert_eq!(told.id, Some(first + 1));
    let changes = told.data["events"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!((&changes[0]["key"], &changes[0]["type"]), (&json!("a"), &json!("put")));
    assert_eq!((&changes[1]["key"], &changes[1]["type"]), (&json!("a/b"), &json!("delete")));
    assert_eq!(changes[1]["prev"]["value_base64"], "MQ==");
    assert_eq!(changes[1]["prev_revision"], first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_after_the_last_event_that_it_saw() {
    let (_directory, node) = node().await;
    let first = put(&node, "a", "1").await;
    put(&node, "a", "2").await;
    let url = node.url("/v1/keyspaces/default/watch?key=a&from_revision=1");
    let response = Client::new().get(url).header("Last-Event-ID", first.to_string()).send().await.unwrap();
    let mut events = Events::of(response);
    assert_eq!(events.next().await.unwrap().id, Some(first));
    assert_eq!(events.next().await.unwrap().id, Some(first + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compacted_is_gone_and_the_rest_is_read_as_it_was() {
    let (_directory, node) = node().await;
    let mut revisions = Vec::new();
    for value in ["1", "2", "3"] {
        revisions.push(put(&node, "a", value).await);
    }
    let read = async |revision: u64| {
        let url = node.url(&format!("/v1/keyspaces/default/keys/a?revision={revision}"));
        let answer = Client::new().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(read(revisions[0]).await, (200, "1".to_owned()));
    let page = Client::new()
        .get(node.url(&format!("/v1/keyspaces/default/keys?values=true&revision={}", revisions[1])));
    let page = page.send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(page["items"][0]["value_base64"], STANDARD.encode("2"));
    let (status, compacted) = compact(&node, revisions[1]).await;
    assert_eq!(status, StatusCode::OK, "{compacted}");
    assert_eq!(compacted["oldest_revision"], revisions[2]);
    assert_eq!(read(revisions[1]).await, (200, "2".to_owned()));
    let (status, problem) = read(revisions[0]).await;
    assert_eq!((status, problem.contains("COMPACTED")), (410, true), "{problem}");
    let url = node.url(&format!("/v1/keyspaces/default/watch?key=a&from_revision={}", revisions[1]));
    let refused = Client::new().get(url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::GONE);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((&refused["code"], &refused["oldest_revision"]), (&json!("COMPACTED"), &json!(revisions[2])));
    let (status, problem) = compact(&node, 1_000).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("INVALID_ARGUMENT")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_after_the_time_that_was_asked_for_or_with_its_node() {
    let (_directory, node) = node().await;
    let mut bounded = Events::open(&node, "for_ms=50").await;
    while bounded.next().await.is_some() {}
    let mut open = Events::open(&node, "").await;
    assert_eq!(open.next().await.unwrap().name, "started");
    node.stop().await;
    let last = open.next().await.unwrap();
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("UNAVAILABLE")));
    assert!(open.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused() {
    let (_directory, node) = node().await;
    for query in
        ["key=a&prefix=b", "key=", "from_revision=0", "from_revision=x", "shard=1", "other=1", "prev=yes"]
    {
        let url = node.url(&format!("/v1/keyspaces/default/watch?{query}"));
        let answer = Client::new().get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let nowhere = Client::new().get(node.url("/v1/keyspaces/nowhere/watch")).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
}
