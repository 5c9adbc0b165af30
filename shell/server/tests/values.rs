//! Typed values over HTTP, from outside.

mod support;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{Running, config, start};

/// A node with a keyspace of each kind of values, named after it.
async fn node() -> (tempfile::TempDir, Running) {
    let directory = tempfile::tempdir().unwrap();
    let node = start(config(directory.path())).await.unwrap();
    for kind in ["counter", "set", "map", "sorted_set"] {
        let contract = json!({"values": kind}).to_string();
        let url = node.url(&format!("/v1/keyspaces/{kind}"));
        let created = Client::new().put(url).body(contract).send().await.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED);
    }
    (directory, node)
}

async fn post(node: &Running, path: &str, operations: Value, headers: &[(&str, &str)]) -> Response {
    let document = json!({"operations": operations}).to_string();
    let mut request = Client::new().post(node.url(&format!("/v1/keyspaces/{path}"))).body(document);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Status and body; with an answer come its receipt and its entity tag.
async fn body(response: Response) -> (u16, Value) {
    let status = response.status();
    let (receipt, tag) =
        (response.headers().get("quorate-receipt").cloned(), response.headers().get("etag").cloned());
    let body: Value = response.json().await.unwrap();
    if status.is_success() {
        let receipt: Value = serde_json::from_slice(receipt.expect("a receipt").as_bytes()).unwrap();
        assert_eq!(body["receipt"], receipt);
        let revision = body.get("mod_revision").unwrap_or(&body["revision"]);
        assert_eq!(tag.expect("a tag"), format!("\"{revision}\""));
    }
    (status.as_u16(), body)
}

async fn answers(node: &Running, path: &str, operations: Value) -> Value {
    let (status, body) = body(post(node, path, operations, &[]).await).await;
    assert!(matches!(status, 200 | 201), "{body}");
    body["answers"].clone()
}

async fn get(node: &Running, path: &str) -> (u16, Value) {
    body(reqwest::get(node.url(&format!("/v1/keyspaces/{path}"))).await.unwrap()).await
}

async fn refused(node: &Running, path: &str, operations: Value) -> String {
    let (status, body) = body(post(node, path, operations, &[]).await).await;
    assert_eq!(
        (status, &body["code"], &body["applied"]),
        (400, &json!("INVALID_ARGUMENT"), &json!("not_applied"))
    );
    body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_has_its_operations_and_parts() {
    let (_directory, node) = node().await;
    let (status, made) =
        body(post(&node, "counter/values/likes", json!([{"increment": {"by": 5}}]), &[]).await).await;
    assert_eq!((status, &made["version"]), (201, &json!(1)));
    let both = json!([{"increment": {"by": -2}}, {"increment": {"by": 1}}]);
    assert_eq!(answers(&node, "counter/values/likes", both).await, json!([{"value": 3}, {"value": 4}]));
    let (_, shown) = get(&node, "counter/values/likes").await;
    assert_eq!(
        (&shown["kind"], &shown["value"], &shown["version"]),
        (&json!("counter"), &json!(4), &json!(2))
    );

    let add = json!([{"add": {"members": ["red", "green", {"base64": "/w=="}]}}, {"remove": {"members": ["red", "blue"]}}]);
    assert_eq!(answers(&node, "set/values/a%2Fb", add).await, json!([{"added": 3}, {"removed": 1}]));
    let (_, shown) = get(&node, "set/values/a%2Fb").await;
    assert_eq!(shown["value"], json!(["green", {"base64": "/w=="}]));
    let (_, page) = get(&node, "set/values/a%2Fb?part=members&limit=1").await;
    assert_eq!(
        (&page["members"], &page["total"], &page["next"]),
        (&json!(["green"]), &json!(2), &json!({"base64": "/w=="}))
    );
    assert_eq!(get(&node, "set/values/a%2Fb?part=member&member=%FF").await.1["present"], true);

    let fields = json!([
        {"put": {"field": "name", "value": "Ann"}},
        {"within": {"field": "visits", "operation": {"increment": {"by": 2}}}},
        {"within": {"field": "groups", "operation": {"add": {"members": ["staff"]}}}},
    ]);
    assert_eq!(
        answers(&node, "map/values/ann", fields).await,
        json!([{"existed": false}, {"value": 2}, {"added": 1}])
    );
    let (_, field) = get(&node, "map/values/ann?part=field&field=visits").await;
    assert_eq!(field["value"], json!([{"field": "visits", "kind": "counter", "value": 2}]));
    let other = json!([{"within": {"field": "visits", "operation": {"add": {"members": ["x"]}}}}]);
    assert!(refused(&node, "map/values/ann", other).await.contains("the field visits holds a counter"));

    let scores =
        json!([{"score": {"member": "ann", "score": 10}}, {"increment_score": {"member": "bob", "by": 7.5}}]);
    let scored = json!([{"score": 10.0, "existed": false}, {"score": 7.5, "existed": false}]);
    assert_eq!(answers(&node, "sorted_set/values/board", scores).await, scored);
    let (_, first) = get(&node, "sorted_set/values/board?part=scores&descending=true&limit=1").await;
    assert_eq!((&first["scores"], &first["next"]), (&json!([{"member": "ann", "score": 10.0}]), &json!(1)));
    let (_, bob) = get(&node, "sorted_set/values/board?part=member&member=bob").await;
    assert_eq!((&bob["score"], &bob["rank"]), (&json!(7.5), &json!(0)));

    assert_eq!(get(&node, "set/values/none").await.0, 404);
    assert_eq!(get(&node, "set/values/a%2Fb?part=scores").await.0, 400);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_addition_adds_once_under_its_key() {
    let (_directory, node) = node().await;
    let add = |key: &'static str, by: i64| {
        let node = &node;
        async move {
            let operations = json!([{"increment": {"by": by}}]);
            body(post(node, "counter/values/likes", operations, &[("idempotency-key", key)]).await).await
        }
    };
    let (status, first) = add("\"like-17\"", 5).await;
    assert_eq!((status, &first["answers"]), (201, &json!([{"value": 5}])));
    let (status, again) = add("\"like-17\"", 5).await;
    assert_eq!(
        (status, &again["answers"], &again["revision"]),
        (201, &json!([{"value": 5}]), &first["revision"])
    );
    assert_eq!(
        (&first["receipt"]["deduplicated"], &again["receipt"]["deduplicated"]),
        (&json!(false), &json!(true))
    );
    let (status, other) = add("\"like-17\"", 6).await;
    assert_eq!((status, &other["code"]), (422, &json!("IDEMPOTENCY_KEY_REUSED")));
    assert_eq!(add("\"like-18\"", 1).await.1["answers"], json!([{"value": 6}]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_fences_and_other_kinds_are_told_apart() {
    let (_directory, node) = node().await;
    let one = || json!([{"increment": {"by": 1}}]);
    let tag = |response: &Response| response.headers()["etag"].to_str().unwrap().to_owned();
    let absent = post(&node, "counter/values/n", one(), &[("if-none-match", "*")]).await;
    assert_eq!(absent.status(), StatusCode::CREATED);
    let made = tag(&absent);
    let matched = post(&node, "counter/values/n", one(), &[("if-match", &made)]).await;
    assert_eq!(matched.status(), StatusCode::OK);
    let (status, stale) = body(post(&node, "counter/values/n", one(), &[("if-match", &made)]).await).await;
    assert_eq!((status, &stale["code"]), (412, &json!("CONFLICT")));

    let (status, fenced) =
        body(post(&node, "counter/values/n", one(), &[("quorate-fence", "lock:1")]).await).await;
    assert_eq!((status, &fenced["code"], &fenced["applied"]), (412, &json!("FENCED"), &json!("not_applied")));
    let early = post(&node, "counter/values/n?ack=leader", one(), &[]).await;
    assert_eq!(early.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(get(&node, "counter/values/n").await.1["value"], 2);

    assert!(
        refused(&node, "counter/values/n", json!([{"add": {"members": ["a"]}}]))
            .await
            .starts_with("add is no operation of a counter")
    );
    assert!(refused(&node, "counter/values/n", json!([])).await.starts_with("0 operations"));
    assert!(
        refused(&node, "counter/values/n", json!([{"increment": {}}])).await.starts_with("operations[0]")
    );
    let plain = Client::new().put(node.url("/v1/keyspaces/counter/keys/n")).body("7").send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
    let txn = json!({"then": [{"increment": {"key": "n", "by": 1}}]}).to_string();
    let plain = Client::new().post(node.url("/v1/keyspaces/counter/txn")).body(txn).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);

    // In a keyspace of registers a number is its digits.
    assert_eq!(
        answers(&node, "default/values/n", json!([{"increment": {"by": 42}}])).await,
        json!([{"value": 42}])
    );
    let digits = reqwest::get(node.url("/v1/keyspaces/default/keys/n")).await.unwrap().text().await.unwrap();
    assert_eq!(digits, "42");
    node.stop().await;
}
