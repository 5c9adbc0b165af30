//! Transactions over HTTP, from outside.

mod support;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::{Running, config, start};

async fn node() -> (tempfile::TempDir, Running) {
    let directory = tempfile::tempdir().unwrap();
    let running = start(config(directory.path())).await.unwrap();
    (directory, running)
}

async fn post(node: &Running, document: Vec<u8>) -> (StatusCode, Value) {
    let url = node.url("/v1/keyspaces/default/txn");
    let response = Client::new().post(url).body(document).send().await.unwrap();
    let receipt = response.headers().get("quorate-receipt").cloned();
    let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
    if status == StatusCode::OK {
        let receipt: Value = serde_json::from_slice(receipt.expect("a receipt").as_bytes()).unwrap();
        assert_eq!(body["receipt"], receipt);
        assert_eq!(receipt["revision"], body["revision"]);
    }
    (status, body)
}

async fn txn(node: &Running, document: Value) -> Value {
    let (status, body) = post(node, document.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn refused(node: &Running, status: u16, document: impl Into<Vec<u8>>) -> String {
    let (found, body) = post(node, document.into()).await;
    assert_eq!((found.as_u16(), body["code"].as_str()), (status, Some("INVALID_ARGUMENT")), "{body}");
    assert_eq!(body["applied"], "not_applied");
    body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_happens_whole_or_not_at_all() {
    let (_directory, node) = node().await;
    let opened = txn(
        &node,
        json!({"then": [
            {"put": {"key": "ann", "value": "10"}},
            {"put": {"key": "bob", "value_base64": "NQ=="}},
        ]}),
    )
    .await;
    let revision = opened["revision"].as_u64().unwrap();
    assert_eq!(opened["succeeded"], true);
    assert_eq!(opened["responses"][1], json!({"put": {"create_revision": revision, "version": 1}}));

    let transfer = json!({
        "compares": [{"key": "ann", "target": "mod_revision", "result": "equal", "value": revision}],
        "then": [{"increment": {"key": "ann", "by": -3}}, {"increment": {"key": "bob", "by": 3}}],
        "else": [{"get": {"key": "ann"}}],
    });
    let first = txn(&node, transfer.clone()).await;
    assert_eq!(first["revision"], revision + 1);
    assert_eq!(first["responses"][0]["increment"]["value"], 7);
    assert_eq!(first["responses"][1]["increment"]["value"], 8);
    // Sent again, it finds that ann changed.
    let second = txn(&node, transfer).await;
    assert_eq!((&second["succeeded"], &second["revision"]), (&json!(false), &json!(revision + 1)));
    let item = &second["responses"][0]["get"]["item"];
    assert_eq!(item["mod_revision"], revision + 1);
    assert_eq!((&item["value_base64"], &item["version"]), (&json!("Nw=="), &json!(2)));

    // A transaction that only reads writes no entry to the log.
    let status = || async {
        reqwest::get(node.url("/v1/status")).await.unwrap().json::<Value>().await.unwrap()["commit_index"]
            .clone()
    };
    let before = status().await;
    let read =
        txn(&node, json!({"then": [{"range": {"prefix": "", "limit": 1}}, {"get": {"key": "none"}}]})).await;
    assert_eq!(read["responses"][0]["range"]["items"][0]["key"], "ann");
    assert_eq!(read["responses"][0]["range"]["next_base64"], "Ym9i");
    assert_eq!(read["responses"][1], json!({"get": {"item": null}}));
    assert_eq!(read["receipt"]["acks"]["durable"], 0);
    assert_eq!(status().await, before);

    let removed = txn(&node, json!({"then": [{"txn": {"then": [{"delete": {"prefix": ""}}]}}]})).await;
    assert_eq!(removed["responses"][0]["txn"]["responses"][0]["delete"]["deleted"], 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_refused_by_path() {
    let (_directory, node) = node().await;
    let twice = json!({"then": [{"put": {"key": "a", "value": "1"}}, {"delete": {"key": "a"}}]}).to_string();
    assert!(
        refused(&node, 400, twice)
            .await
            .starts_with("then[1].delete.key: duplicate key given in txn request")
    );
    assert!(refused(&node, 400, "{").await.starts_with("the document: "));
    assert!(refused(&node, 400, r#"{"then": [{"get": {}}]}"#).await.starts_with("then[0].get.key: "));
    let long = json!({"then": [{"get": {"key": "k".repeat(4097)}}]}).to_string();
    assert!(refused(&node, 400, long).await.starts_with("then[0].get.key: the key has 4097 bytes"));
    let many = json!({"else": vec![json!({"get": {"key": "a"}}); 129]}).to_string();
    assert!(refused(&node, 400, many).await.starts_with("else: there are 129 elements"));
    assert!(refused(&node, 413, vec![b' '; 4 * 1024 * 1024 + 1]).await.contains("larger than"));
    txn(&node, json!({"then": [{"put": {"key": "a", "value": "no number"}}]})).await;
    let counted = json!({"then": [{"put": {"key": "b", "value": ""}}, {"increment": {"key": "a", "by": 1}}]});
    assert!(refused(&node, 400, counted.to_string()).await.starts_with("the key a does not hold"));
    let untouched = txn(&node, json!({"then": [{"get": {"key": "b"}}]})).await;
    assert_eq!(untouched["responses"][0]["get"]["item"], Value::Null);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_the_largest_size_goes_through() {
    let (_directory, node) = node().await;
    let value = "v".repeat(1024 * 1024 - 8);
    let both =
        json!({"then": [{"put": {"key": "a", "value": value}}, {"put": {"key": "b", "value": value}}]});
    txn(&node, both).await;
    let read = txn(&node, json!({"then": [{"range": {"prefix": ""}}, {"get": {"key": "a"}}]})).await;
    assert_eq!(read["responses"][0]["range"]["items"][1]["value_bytes"], value.len());
    let four = json!({"then": vec![json!({"get": {"key": "a"}}); 5]}).to_string();
    assert!(refused(&node, 400, four).await.starts_with("the transaction reads more than"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_an_idempotency_key_it_happens_once() {
    let (_directory, node) = node().await;
    let send = async |document: Value| {
        let url = node.url("/v1/keyspaces/default/txn");
        let request = Client::new().post(url).header("idempotency-key", "\"charge-1\"");
        let response = request.body(document.to_string()).send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let charge = json!({"then": [{"increment": {"key": "account", "by": 30}}, {"put": {"key": "entry", "value": "x"}}]});
    let (_, first) = send(charge.clone()).await;
    let (_, again) = send(charge).await;
    assert_eq!((&first["responses"], &first["revision"]), (&again["responses"], &again["revision"]));
    assert_eq!(
        (&first["receipt"]["deduplicated"], &again["receipt"]["deduplicated"]),
        (&false.into(), &true.into())
    );
    let (status, other) = send(json!({"then": [{"increment": {"key": "account", "by": 31}}]})).await;
    assert_eq!((status.as_u16(), &other["code"]), (422, &"IDEMPOTENCY_KEY_REUSED".into()), "{other}");
    let held = txn(&node, json!({"then": [{"get": {"key": "account"}}]})).await;
    assert_eq!(held["responses"][0]["get"]["item"]["value_base64"], "MzA=", "{held}");
}
