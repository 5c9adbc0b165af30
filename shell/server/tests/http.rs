//! The HTTP API of a real node, from outside.

mod support;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use support::{Running, config, start};

const KEYS: &str = "/v1/keyspaces/default/keys/";

async fn node() -> (tempfile::TempDir, Running) {
    let directory = tempfile::tempdir().unwrap();
    let running = start(config(directory.path())).await.unwrap();
    (directory, running)
}

async fn send(
    node: &Running,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let mut request = Client::new().request(method, node.url(path)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn put(node: &Running, key: &str, value: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> Response {
    send(node, Method::PUT, &format!("{KEYS}{key}"), headers, value.into()).await
}

async fn get(node: &Running, path: &str, headers: &[(&str, &str)]) -> Response {
    send(node, Method::GET, path, headers, Vec::new()).await
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no header {name}"));
    value.to_str().unwrap().to_owned()
}

async fn json(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// The problem that the answer is, checked to be one.
async fn problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    assert_eq!(header(&response, "quorate-error"), code);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("/errors/{code}"));
    for field in ["title", "detail", "next_step", "applied"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
    }
    assert_eq!(problem["retry_safe"], problem["applied"] == "not_applied");
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_created_read_changed_and_removed() {
    let (_directory, node) = node().await;
    let created = put(&node, "a", "one", &[]).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let receipt: Value = serde_json::from_str(&header(&created, "quorate-receipt")).unwrap();
    let body: Value = created.json().await.unwrap();
    assert_eq!(body["receipt"], receipt);
    assert_eq!((&body["version"], &body["create_revision"]), (&1.into(), &body["revision"]));
    assert_eq!(receipt["delivered"], "linearizable");
    assert_eq!(receipt["served_by"], 0);
    assert_eq!(receipt["acks"]["durable"], 1);

    let changed = put(&node, "a", "two", &[]).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let etag = header(&changed, "etag");
    assert_eq!(changed.json::<Value>().await.unwrap()["version"], 2);

    let read = get(&node, &format!("{KEYS}a"), &[]).await;
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(header(&read, "content-type"), "application/octet-stream");
    assert_eq!(header(&read, "etag"), etag);
    assert_eq!(header(&read, "quorate-version"), "2");
    assert_eq!(format!("\"{}\"", header(&read, "quorate-mod-revision")), etag);
    assert_eq!(header(&read, "quorate-create-revision"), body["revision"].to_string());
    assert_eq!(header(&read, "quorate-revision"), etag.trim_matches('"'));
    assert_eq!(read.bytes().await.unwrap(), "two");

    let head = send(&node, Method::HEAD, &format!("{KEYS}a"), &[], Vec::new()).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "3".to_owned()));
    assert!(head.bytes().await.unwrap().is_empty());

    for existed in [true, false] {
        let removed = send(&node, Method::DELETE, &format!("{KEYS}a"), &[], Vec::new()).await;
        assert_eq!(removed.status(), StatusCode::OK);
        header(&removed, "quorate-receipt");
        assert_eq!(removed.json::<Value>().await.unwrap()["existed"], existed);
    }
    let missing = get(&node, &format!("{KEYS}a"), &[]).await;
    header(&missing, "quorate-receipt");
    let missing = problem(missing, 404, "KEY_NOT_FOUND").await;
    assert_eq!(missing["receipt"]["delivered"], "linearizable");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_hold_or_nothing_happens() {
    let (_directory, node) = node().await;
    let absent = problem(put(&node, "a", "x", &[("if-match", "*")]).await, 412, "CONFLICT").await;
    assert_eq!(absent["current_revision"], 0);
    let created = put(&node, "a", "one", &[("if-none-match", "*")]).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let etag = header(&created, "etag");
    let again = put(&node, "a", "x", &[("if-none-match", "*")]).await;
    assert_eq!(header(&again, "etag"), etag);
    header(&again, "quorate-receipt");
    let again = problem(again, 412, "CONFLICT").await;
    assert_eq!(format!("\"{}\"", again["current_revision"]), etag);
    let changed = put(&node, "a", "two", &[("if-match", &etag)]).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let newer = header(&changed, "etag");
    problem(put(&node, "a", "x", &[("if-match", &etag)]).await, 412, "CONFLICT").await;
    assert_eq!(get(&node, &format!("{KEYS}a"), &[]).await.bytes().await.unwrap(), "two");

    let known = get(&node, &format!("{KEYS}a"), &[("if-none-match", &newer)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header(&known, "etag"), newer);
    let stale = get(&node, &format!("{KEYS}a"), &[("if-none-match", &etag)]).await;
    assert_eq!(stale.status(), StatusCode::OK);

    let path = format!("{KEYS}a");
    let refused = send(&node, Method::DELETE, &path, &[("if-match", &etag)], Vec::new()).await;
    problem(refused, 412, "CONFLICT").await;
    let removed = send(&node, Method::DELETE, &path, &[("if-match", &newer)], Vec::new()).await;
    assert_eq!(removed.status(), StatusCode::OK);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_an_idempotency_key_happens_once() {
    let (_directory, node) = node().await;
    let first = put(&node, "stock", "10", &[("Idempotency-Key", "\"order 17\"")]).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let etag = header(&first, "etag");
    let first: Value = first.json().await.unwrap();
    assert_eq!(first["receipt"]["deduplicated"], false);
    put(&node, "stock", "9", &[]).await;

    // A late copy of the first write does not undo the second.
    let again = put(&node, "stock", "10", &[("Idempotency-Key", "\"order 17\"")]).await;
    assert_eq!((again.status(), header(&again, "etag")), (StatusCode::CREATED, etag));
    let receipt: Value = serde_json::from_str(&header(&again, "quorate-receipt")).unwrap();
    let again: Value = again.json().await.unwrap();
    assert_eq!((&again["receipt"], &receipt["deduplicated"]), (&receipt, &true.into()));
    for field in ["revision", "create_revision", "version"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    assert_eq!(get(&node, &format!("{KEYS}stock"), &[]).await.text().await.unwrap(), "9");

    for (key, value, condition) in [("stock", "11", None), ("other", "10", None), ("stock", "10", Some("*"))]
    {
        let mut headers = vec![("Idempotency-Key", "\"order 17\"")];
        headers.extend(condition.map(|condition| ("If-Match", condition)));
        let refused = problem(put(&node, key, value, &headers).await, 422, "IDEMPOTENCY_KEY_REUSED").await;
        assert_eq!(refused["applied"], "not_applied");
    }

    // A conflict is an answer too, and a bare word is a key.
    let headers = [("Idempotency-Key", "b-1"), ("If-None-Match", "*")];
    let conflict = problem(put(&node, "stock", "0", &headers).await, 412, "CONFLICT").await;
    let delete = |key: &'static str| {
        let headers = [("Idempotency-Key", key)];
        let (node, path) = (&node, format!("{KEYS}stock"));
        async move { send(node, Method::DELETE, &path, &headers, Vec::new()).await }
    };
    let deleted: Value = delete("c-1").await.json().await.unwrap();
    assert_eq!(deleted["existed"], true);
    let again = problem(put(&node, "stock", "0", &headers).await, 412, "CONFLICT").await;
    assert_eq!(again["current_revision"], conflict["current_revision"]);
    assert_eq!(again["receipt"]["deduplicated"], true);
    put(&node, "stock", "back", &[]).await;
    let again: Value = delete("\"c-1\"").await.json().await.unwrap();
    assert_eq!((&again["existed"], &again["revision"]), (&deleted["existed"], &deleted["revision"]));
    assert_eq!(get(&node, &format!("{KEYS}stock"), &[]).await.text().await.unwrap(), "back");

    for malformed in ["", "\"\"", "\"a", "a b", "\"a\";x=1"] {
        let answer = put(&node, "stock", "x", &[("Idempotency-Key", malformed)]).await;
        problem(answer, 400, "INVALID_ARGUMENT").await;
    }
    let reserved = format!("{}x", "%FF".repeat(8));
    problem(put(&node, &reserved, "x", &[]).await, 400, "INVALID_ARGUMENT").await;
    let hash: Value = get(&node, "/v1/keyspaces/default/hash?verify=true", &[]).await.json().await.unwrap();
    assert_eq!(hash["verified"]["matches"], true, "{hash}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_that_would_not_be_kept_is_refused() {
    let (_directory, node) = node().await;
    for (method, path) in [
        (Method::PUT, "/v1/keyspaces/orders"),
        (Method::DELETE, "/v1/keyspaces/default"),
        (Method::POST, "/v1/keyspaces/default/locks/job"),
        (Method::POST, "/v1/keyspaces/default/leases/4000000000000001/keepalive"),
        (Method::DELETE, "/v1/lost-writes?ids=bound-1-1"),
    ] {
        let answer = send(&node, method, path, &[("Idempotency-Key", "a-1")], Vec::new()).await;
        let problem = problem(answer, 400, "INVALID_ARGUMENT").await;
        assert!(
            problem["detail"].as_str().unwrap().contains("takes no Idempotency-Key"),
            "{path}: {problem}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_are_any_bytes() {
    let (_directory, node) = node().await;
    let keys =
        ["a/b/c", "%00%FF%20", "x%2Fy", "%C3%BC", "..%2Fup%2F.", "a//b", "end/", "%25", "a+b", "k%3Fq"];
    let value: Vec<u8> = (0..=255).collect();
    for key in keys {
        assert_eq!(put(&node, key, value.clone(), &[]).await.status(), StatusCode::CREATED, "{key}");
    }
    assert_eq!(put(&node, "empty", "", &[]).await.status(), StatusCode::CREATED);
    assert!(get(&node, &format!("{KEYS}empty"), &[]).await.bytes().await.unwrap().is_empty());
    // The same bytes, however they are encoded.
    assert_eq!(put(&node, "a%2Fb%2fc", "", &[]).await.status(), StatusCode::OK);
    assert_eq!(put(&node, "a/b/c", value.clone(), &[]).await.status(), StatusCode::OK);
    let page: Value = get(&node, "/v1/keyspaces/default/keys?values=true", &[]).await.json().await.unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), keys.len() + 1);
    for item in page["items"].as_array().unwrap() {
        let key = item["key"].as_str().unwrap();
        let read = get(&node, &format!("{KEYS}{key}"), &[]).await;
        assert_eq!(read.status(), StatusCode::OK, "{key}");
        assert_eq!(read.bytes().await.unwrap().len() as u64, item["value_bytes"].as_u64().unwrap());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_pages_through_what_the_bounds_select() {
    let (_directory, node) = node().await;
    for number in 0..10 {
        put(&node, &format!("n/{number}"), format!("{number}"), &[]).await;
    }
    put(&node, "other", "x", &[]).await;
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/keyspaces/default/keys?prefix=n%2F&limit=3{cursor}");
        let page = get(&node, &path, &[]).await;
        header(&page, "quorate-receipt");
        let page: Value = page.json().await.unwrap();
        let items = page["items"].as_array().unwrap();
        assert!((1..=3).contains(&items.len()));
        assert!(items.iter().all(|item| item.get("value_base64").is_none()));
        found.extend(items.iter().map(|item| item["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..10).map(|number| format!("n/{number}")).collect();
    assert_eq!(found, expected);
    let ranged = get(&node, "/v1/keyspaces/default/keys?start=n/8&end=o&values=true", &[]).await;
    let ranged: Value = ranged.json().await.unwrap();
    assert_eq!(ranged["items"].as_array().unwrap().len(), 2);
    assert_eq!(ranged["items"][0]["value_base64"], "OA==");
    let none: Value = get(&node, "/v1/keyspaces/default/keys?start=z&end=a", &[]).await.json().await.unwrap();
    assert_eq!((none["items"].as_array().unwrap().len(), none["next"].is_null()), (0, true));
    node.stop().await;
}

/// Method, path, headers, then the status and code expected.
type Case = (&'static str, String, &'static [(&'static str, &'static str)], u16, &'static str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_refused_by_name() {
    let (_directory, node) = node().await;
    let list = "/v1/keyspaces/default/keys";
    let cases: [Case; 22] = [
        ("GET", format!("{KEYS}%"), &[], 400, "INVALID_ARGUMENT"),
        ("PUT", format!("{KEYS}100%zz"), &[], 400, "INVALID_ARGUMENT"),
        ("GET", KEYS.to_owned(), &[], 400, "INVALID_ARGUMENT"),
        ("PUT", KEYS.to_owned(), &[], 400, "INVALID_ARGUMENT"),
        ("PUT", format!("{KEYS}{}", "k".repeat(4097)), &[], 400, "INVALID_ARGUMENT"),
        ("PUT", format!("{KEYS}a?b"), &[], 400, "INVALID_ARGUMENT"),
        ("PUT", format!("{KEYS}a"), &[("if-match", "7")], 400, "INVALID_ARGUMENT"),
        ("PUT", format!("{KEYS}a"), &[("if-none-match", "\"7\"")], 400, "INVALID_ARGUMENT"),
        ("DELETE", format!("{KEYS}a"), &[("if-match", "\"0\"")], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{KEYS}a"), &[("quorate-timeout-ms", "0")], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{KEYS}a"), &[("quorate-timeout-ms", "60001")], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{list}?limit=0"), &[], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{list}?limt=1"), &[], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{list}?cursor=xyz"), &[], 400, "INVALID_ARGUMENT"),
        ("GET", format!("{list}?values=1"), &[], 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/keyspaces/nope/keys/a".to_owned(), &[], 404, "KEYSPACE_NOT_FOUND"),
        ("GET", "/v1/keyspaces/nope/hash".to_owned(), &[], 404, "KEYSPACE_NOT_FOUND"),
        ("GET", "/v1/keyspaces/%FF/keys/a".to_owned(), &[], 400, "INVALID_ARGUMENT"),
        ("GET", "/nothing".to_owned(), &[], 404, "INVALID_ARGUMENT"),
        ("GET", "/errors/NOPE".to_owned(), &[], 404, "INVALID_ARGUMENT"),
        ("POST", format!("{KEYS}a"), &[], 405, "INVALID_ARGUMENT"),
        ("DELETE", "/v1/status".to_owned(), &[], 405, "INVALID_ARGUMENT"),
    ];
    for (method, path, headers, status, code) in cases {
        let response = send(&node, method.parse().unwrap(), &path, headers, Vec::new()).await;
        if status == 405 {
            assert!(header(&response, "allow").contains("GET"), "{method} {path}");
        }
        println!("{method} {path}");
        problem(response, status, code).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_stored_up_to_the_limit_and_refused_beyond_it() {
    let (_directory, node) = node().await;
    let largest = vec![7; 1024 * 1024];
    assert_eq!(put(&node, "large", largest.clone(), &[]).await.status(), StatusCode::CREATED);
    let mut larger = largest.clone();
    larger.push(7);
    problem(put(&node, "large", larger.clone(), &[]).await, 413, "INVALID_ARGUMENT").await;
    // Without a stated length, and much larger.
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![1_u8; 100_000]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let streamed = Client::new().put(node.url(&format!("{KEYS}large"))).body(body).send().await.unwrap();
    problem(streamed, 413, "INVALID_ARGUMENT").await;
    assert_eq!(get(&node, &format!("{KEYS}large"), &[]).await.bytes().await.unwrap(), largest);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_of_itself() {
    let (_directory, node) = node().await;
    put(&node, "a", "b", &[]).await;
    let status: Value = get(&node, "/v1/status", &[]).await.json().await.unwrap();
    assert_eq!(status["node"], 0);
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["http"], node.http().to_string());
    assert_eq!(
        (&status["role"], &status["ready"], &status["healthy"]),
        (&"leader".into(), &true.into(), &true.into())
    );
    assert!(status["applied_index"].as_u64().unwrap() >= 1);
    assert_eq!(status["members"].as_array().unwrap().len(), 1);

    let hash: Value = get(&node, "/v1/keyspaces/default/hash?verify=true", &[]).await.json().await.unwrap();
    assert_eq!(hash["state_hash"].as_str().unwrap().len(), 32);
    assert_eq!(hash["verified"]["matches"], true, "{hash}");

    let metrics = get(&node, "/metrics", &[]).await;
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    let metrics = metrics.text().await.unwrap();
    let expected = [
        "quorate_raft_role{group=\"1\",keyspace=\"meta\",role=\"leader\"} 1",
        "quorate_http_requests_total{method=\"PUT\",route=\"/v1/keyspaces/{keyspace}/keys/{*key}\",status=\"201\"} 1",
        "quorate_log_syncs_total",
        "quorate_log_append_seconds_bucket",
        "quorate_disk_free_bytes",
        "quorate_pending_requests",
        "# EOF",
    ];
    for line in expected {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(get(&node, "/errors/NO_QUORUM", &[]).await.text().await.unwrap().starts_with("# NO_QUORUM"));
    assert_eq!(get(&node, "/healthz", &[]).await.status(), StatusCode::OK);
    let document: Value = get(&node, "/v1/openapi.json", &[]).await.json().await.unwrap();
    assert!(document["paths"]["/v1/status"].is_object());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyspaces_are_created_shown_and_listed() {
    let (_directory, node) = node().await;
    let path = "/v1/keyspaces/orders";
    let create = |body: &'static str| send(&node, Method::PUT, path, &[], body.into());
    problem(get(&node, path, &[]).await, 404, "KEYSPACE_NOT_FOUND").await;
    let created = create(r#"{"idempotency_ttl_s": 60}"#).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let receipt: Value = serde_json::from_str(&header(&created, "quorate-receipt")).unwrap();
    let created: Value = created.json().await.unwrap();
    assert_eq!((&created["receipt"], &created["receipt"]["keyspace"]), (&receipt, &"meta".into()));
    assert_eq!((&created["created"], &created["version"]), (&true.into(), &1.into()));
    assert_eq!(created["contract"]["idempotency_ttl_s"], 60);
    let written = send(&node, Method::PUT, &format!("{path}/keys/a"), &[], b"x".to_vec()).await;
    assert_eq!(written.status(), StatusCode::CREATED, "it serves at once");

    let again = create(r#"{"idempotency_ttl_s": 60, "replicas": 1, "ack": "quorum"}"#).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.json::<Value>().await.unwrap()["created"], false);
    let other = problem(create("").await, 409, "CONFLICT").await;
    assert!(other["detail"].as_str().unwrap().contains("idempotency_ttl_s: 60 -> 86400"), "{other}");

    let shown: Value = get(&node, path, &[]).await.json().await.unwrap();
    assert_eq!((&shown["contract"], &shown["group"]), (&created["contract"], &created["group"]));
    assert_eq!(shown["explanation"]["failures_survived"], 0);
    let listed: Value = get(&node, "/v1/keyspaces", &[]).await.json().await.unwrap();
    let names: Vec<&Value> =
        listed["keyspaces"].as_array().unwrap().iter().map(|keyspace| &keyspace["name"]).collect();
    assert_eq!(names, ["default", "orders"]);
    assert_eq!(listed["receipt"]["delivered"], "linearizable");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracts_that_cannot_be_are_refused_with_the_reason() {
    let (_directory, node) = node().await;
    let cases = [
        ("new", "[]", 400, "a contract"),
        ("new", "{", 400, "EOF"),
        ("new", r#"{"repliction": "raft"}"#, 400, "did you mean \"replication\"?"),
        ("new", r#"{"read": "strog"}"#, 400, "did you mean \"strong\"?"),
        ("new?x=1", "{}", 400, "no parameter"),
        ("%FF", "{}", 400, "not UTF-8"),
        ("meta", "{}", 422, "the cluster's own"),
        ("New", "{}", 422, "cannot name a keyspace"),
        ("new", r#"{"on_partition": "accept"}"#, 422, "cannot both have one"),
        ("new", r#"{"replicas": 3}"#, 422, "the cluster has 1"),
        ("new", r#"{"replication": "paxos"}"#, 422, "does not keep replication = paxos yet"),
    ];
    for (name, body, status, reason) in cases {
        let path = format!("/v1/keyspaces/{name}");
        let refused = send(&node, Method::PUT, &path, &[], body.into()).await;
        let refused = problem(refused, status, "INVALID_ARGUMENT").await;
        assert!(refused["detail"].as_str().unwrap().contains(reason), "{name} {body}: {refused}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracts_are_altered_by_version_and_keyspaces_deleted() {
    let (_directory, node) = node().await;
    let path = "/v1/keyspaces/orders";
    send(&node, Method::PUT, path, &[], Vec::new()).await;
    let altered = json(send(&node, Method::PATCH, path, &[], br#"{"quota_bytes":50}"#.to_vec()).await).await;
    assert_eq!((&altered["version"], &altered["changes"][0]), (&2.into(), &"quota_bytes: none -> 50".into()));
    let full = send(&node, Method::PUT, &format!("{path}/keys/k"), &[], vec![b'x'; 60]).await;
    problem(full, 507, "QUOTA_EXCEEDED").await;
    let old = [("if-match", "\"1\"")];
    problem(send(&node, Method::PATCH, path, &old, b"{}".to_vec()).await, 412, "CONFLICT").await;
    problem(send(&node, Method::DELETE, path, &old, Vec::new()).await, 412, "CONFLICT").await;
    let fixed = send(&node, Method::PATCH, path, &[], br#"{"shards":2}"#.to_vec()).await;
    let fixed = problem(fixed, 422, "INVALID_ARGUMENT").await;
    assert!(fixed["detail"].as_str().unwrap().contains("every key would have to move"), "{fixed}");
    let whole = json(send(&node, Method::PUT, path, &[("if-match", "\"2\"")], b"{}".to_vec()).await).await;
    assert_eq!((&whole["version"], &whole["contract"]["quota_bytes"]), (&3.into(), &serde_json::Value::Null));
    let deleted = json(send(&node, Method::DELETE, path, &[("if-match", "\"3\"")], Vec::new()).await).await;
    assert_eq!(deleted["name"], "orders");
    problem(send(&node, Method::GET, path, &[], Vec::new()).await, 404, "KEYSPACE_NOT_FOUND").await;
    problem(send(&node, Method::DELETE, path, &[], Vec::new()).await, 404, "KEYSPACE_NOT_FOUND").await;
    let configured = send(&node, Method::DELETE, "/v1/keyspaces/default", &[], Vec::new()).await;
    problem(configured, 422, "INVALID_ARGUMENT").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_say_how_new_they_must_be_and_what_was_kept() {
    let (_directory, node) = node().await;
    let written = put(&node, "greeting", "hello", &[]).await;
    let session = header(&written, "quorate-session");
    let levels = [
        ("", "linearizable", "linearizable"),
        ("?read=strong", "linearizable", "linearizable"),
        ("?read=causal", "causal", "causal"),
        // The leader has confirmed itself for the reads before: that proves how old its state is.
        ("?read=bounded(60s)", "bounded", "bounded"),
        ("?read=eventual", "eventual", "eventual"),
    ];
    for (asked, requested, delivered) in levels {
        let path = format!("{KEYS}greeting{asked}");
        let read = get(&node, &path, &[("quorate-session", session.as_str())]).await;
        assert_eq!(read.status(), 200, "{asked}");
        let receipt: Value = serde_json::from_str(&header(&read, "quorate-receipt")).unwrap();
        assert_eq!(
            (&receipt["requested"], &receipt["delivered"]),
            (&requested.into(), &delivered.into()),
            "{receipt}"
        );
        assert!(receipt["staleness_ms"].as_u64().is_some_and(|age_ms| age_ms < 60_000), "{receipt}");
        assert_eq!(receipt["session"], header(&read, "quorate-session"));
        assert_eq!(read.text().await.unwrap(), "hello");
    }
    let listed = get(&node, "/v1/keyspaces/default/keys?read=eventual", &[]).await;
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(
        (&listed["receipt"]["delivered"], &listed["items"][0]["key"]),
        (&"eventual".into(), &"greeting".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_and_not_understood_is_refused() {
    let (_directory, node) = node().await;
    put(&node, "k", "v", &[]).await;
    for asked in ["read=stale", "read=bounded(0s)", "read=bounded(2h)", "read=", "ack=all", "b"] {
        let read = get(&node, &format!("{KEYS}k?{asked}"), &[]).await;
        problem(read, 400, "INVALID_ARGUMENT").await;
    }
    for asked in ["ack=most", "read=strong", "b"] {
        let written = send(&node, Method::PUT, &format!("{KEYS}k?{asked}"), &[], b"w".to_vec()).await;
        problem(written, 400, "INVALID_ARGUMENT").await;
    }
    // What a write under a condition did is not known before it is committed.
    for header in [("if-match", "\"1\""), ("idempotency-key", "once")] {
        let written =
            send(&node, Method::PUT, &format!("{KEYS}k?ack=leader"), &[header], b"w".to_vec()).await;
        problem(written, 422, "INVALID_ARGUMENT").await;
    }
    let name = "x".repeat(65);
    let named = [("quorate-client", name.as_str())];
    let written = send(&node, Method::PUT, &format!("{KEYS}k?ack=leader"), &named, b"w".to_vec()).await;
    problem(written, 400, "INVALID_ARGUMENT").await;
    for session in ["1", "1:0", "2:1,1:1", "x", "1:1;2:2"] {
        let read = get(&node, &format!("{KEYS}k?read=causal"), &[("quorate-session", session)]).await;
        problem(read, 400, "INVALID_ARGUMENT").await;
    }
    let all = send(&node, Method::PUT, &format!("{KEYS}k?ack=all"), &[], b"w".to_vec()).await;
    assert_eq!(all.status(), 200);
    // A session from elsewhere: the one node leads, and its strong answer has all that there is.
    let read = get(&node, &format!("{KEYS}k?read=causal"), &[("quorate-session", "64:999999")]).await;
    let receipt: Value = serde_json::from_str(&header(&read, "quorate-receipt")).unwrap();
    assert_eq!((&receipt["requested"], &receipt["delivered"]), (&"causal".into(), &"linearizable".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyspace_of_several_shards_lists_as_one() {
    let (_directory, node) = node().await;
    let contract = br#"{"shards":4,"read":"eventual"}"#.to_vec();
    let made =
        send(&node, Method::PUT, "/v1/keyspaces/wide", &[("quorate-timeout-ms", "20000")], contract).await;
    assert_eq!(made.status(), 201, "{}", made.text().await.unwrap());
    let keys = "/v1/keyspaces/wide/keys";
    for number in 10..40 {
        let written = send(&node, Method::PUT, &format!("{keys}/k{number}"), &[], b"v".to_vec()).await;
        assert_eq!(written.status(), 201);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Value =
            get(&node, &format!("{keys}?limit=7&read=strong{cursor}"), &[]).await.json().await.unwrap();
        assert_eq!((&page["receipt"]["shards"], &page["receipt"]["revision"]), (&4.into(), &Value::Null));
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|item| item["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, (10..40).map(|number| format!("k{number}")).collect::<Vec<_>>());
    for shard in 0..4 {
        let hash: Value = get(&node, &format!("/v1/keyspaces/wide/hash?verify=true&shard={shard}"), &[])
            .await
            .json()
            .await
            .unwrap();
        assert_eq!((&hash["shard"], &hash["verified"]["matches"]), (&shard.into(), &true.into()), "{hash}");
    }
    problem(get(&node, "/v1/keyspaces/wide/hash?shard=4", &[]).await, 404, "INVALID_ARGUMENT").await;
    let document = br#"{"then":[{"put":{"key":"k10","value":"a"}},{"put":{"key":"k11","value":"b"}},{"put":{"key":"k12","value":"c"}}]}"#;
    let refused = send(&node, Method::POST, "/v1/keyspaces/wide/txn", &[], document.to_vec()).await;
    problem(refused, 400, "INVALID_ARGUMENT").await;
    let document = br#"{"then":[{"put":{"key":"{k}1","value":"a"}},{"put":{"key":"{k}2","value":"b"}}]}"#;
    let done = send(&node, Method::POST, "/v1/keyspaces/wide/txn", &[], document.to_vec()).await;
    assert_eq!(done.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_acknowledgements_claim_no_more_than_they_know() {
    let (_directory, node) = node().await;
    let early = async |ack: &str, key: &str| {
        let names = [("quorate-client", "test"), ("quorate-request-id", key)];
        send(&node, Method::PUT, &format!("{KEYS}{key}?ack={ack}"), &names, b"v".to_vec()).await
    };
    let taken = early("none", "a").await;
    assert_eq!(taken.status(), 202);
    let body: Value = taken.json().await.unwrap();
    assert_eq!((&body["revision"], &body["receipt"]["acks"]["required"]), (&Value::Null, &0.into()));
    assert_eq!(body["receipt"]["delivered"], "eventual");
    // The first is answered when it is committed: it tells all replicas that from now on some will not be.
    assert_eq!(early("leader", "b").await.status(), 201);
    let taken: Value = early("leader", "c").await.json().await.unwrap();
    assert_eq!(taken["receipt"]["acks"]["required"], 1);
    // Nothing was lost, and what is no name is refused.
    let list: Value = get(&node, "/v1/lost-writes", &[]).await.json().await.unwrap();
    assert_eq!((&list["items"], &list["next"]), (&Value::Array(Vec::new()), &Value::Null));
    problem(get(&node, "/v1/lost-writes?after=nothing", &[]).await, 400, "INVALID_ARGUMENT").await;
    let off = send(&node, Method::DELETE, "/v1/lost-writes?ids=write-1-2-3", &[], Vec::new()).await;
    let off: Value = off.json().await.unwrap();
    assert_eq!(off["acknowledged"], 0);
    let none = send(&node, Method::DELETE, "/v1/lost-writes", &[], Vec::new()).await;
    problem(none, 400, "INVALID_ARGUMENT").await;
}
