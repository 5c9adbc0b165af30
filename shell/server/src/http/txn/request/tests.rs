//! What a transaction document says, and how a wrong one is refused.

use axum::response::IntoResponse;
use http_body_util::BodyExt;

use super::*;

#[test]
fn a_document_says_all_that_a_transaction_can() {
    let parsed = parse(
        br#"{
        "compares": [
            {"key": "a", "target": "mod_revision", "result": "equal", "value": 7},
            {"key_base64": "/w==", "range_end": "", "target": "value", "result": "less", "value_base64": "AA=="},
            {"prefix": "p", "target": "version", "result": "greater", "value": 0.0}
        ],
        "then": [
            {"put": {"key": "a", "value": "x"}},
            {"increment": {"key": "n", "by": -2}},
            {"txn": {"else": [{"get": {"key": "g"}}]}}
        ],
        "else": [
            {"range": {"key": "a", "range_end": "b", "limit": 3, "keys_only": true}},
            {"range": {"prefix": ""}},
            {"delete": {"key": "a"}},
            {"delete": {"prefix_base64": "YQ=="}}
        ]}"#,
    );
    let compare = |keys, target, relation| Compare { keys, target, relation };
    let range = |start: &[u8], end: Option<&[u8]>| KeyRange { start: start.into(), end: end.map(Into::into) };
    let nested = Txn { otherwise: vec![TxnOp::Get { key: b"g".into() }], ..Txn::default() };
    let expected = Txn {
        compares: vec![
            compare(Keys::One(b"a".into()), Target::ModRevision(7), Relation::Equal),
            compare(Keys::Range(range(b"\xff", None)), Target::Value(vec![0]), Relation::Less),
            compare(Keys::Range(range(b"p", Some(b"q"))), Target::Version(0), Relation::Greater),
        ],
        then: vec![
            TxnOp::Put { key: b"a".into(), value: b"x".into(), lease: None },
            TxnOp::Increment { key: b"n".into(), by: -2 },
            TxnOp::Txn(nested),
        ],
        otherwise: vec![
            TxnOp::Range { range: range(b"a", Some(b"b")), limit: 3, keys_only: true },
            TxnOp::Range { range: range(b"", None), limit: RANGE_ITEMS_MAX, keys_only: false },
            TxnOp::Delete { keys: Keys::One(b"a".into()) },
            TxnOp::Delete { keys: Keys::Range(range(b"a", Some(b"b"))) },
        ],
    };
    assert_eq!(parsed.unwrap(), expected);
}

#[tokio::test]
async fn mistakes_are_named_by_their_path() {
    let cases = [
        ("", "the document: "),
        ("[]", "the document: invalid type: sequence, expected an object"),
        (r#"{"then": [[]]}"#, "then[0]: "),
        (r#"{"then": [{"get": ["a", null]}]}"#, "then[0].get: invalid type: sequence"),
        ("{} {}", "the document: "),
        (r#"{"than": []}"#, "than: unknown field"),
        (r#"{"then": [{"get": {"key": "a"}}, {"pot": {}}]}"#, "then[1]: unknown variant"),
        (r#"{"then": [{"put": {"key": 7, "value": ""}}]}"#, "then[0].put.key: "),
        (r#"{"then": [{"put": {"key": "a"}}]}"#, "then[0].put.value: it is missing"),
        (r#"{"then": [{"put": {"value": "a"}}]}"#, "then[0].put.key: it is missing"),
        (r#"{"then": [{"get": {"key": "a", "key_base64": ""}}]}"#, "then[0].get.key: key_base64 is there"),
        (r#"{"then": [{"get": {"key_base64": "*"}}]}"#, "then[0].get.key_base64: it is not base64"),
        (r#"{"then": [{"txn": {"else": [{"get": {}}]}}]}"#, "then[0].txn.else[0].get.key: it is missing"),
        (
            r#"{"then": [{"get": {"key": "a", "key_base64": null}}]}"#,
            "then[0].get.key_base64: invalid type: null",
        ),
        (
            r#"{"then": [{"increment": {"key": "a", "by": 1.5}}]}"#,
            "then[0].increment.by: 1.5 is not a whole number",
        ),
        (
            r#"{"then": [{"range": {"prefix": "", "limit": -1}}]}"#,
            "then[0].range.limit: -1 is not a whole number",
        ),
        (r#"{"then": [{"range": {"key": "a"}}]}"#, "then[0].range.range_end: it is missing"),
        (
            r#"{"else": [{"delete": {"key": "a", "prefix": "b"}}]}"#,
            "else[0].delete.prefix: it goes with no key",
        ),
        (
            r#"{"compares": [{"key": "a", "target": "version", "result": "equal", "value": "1"}]}"#,
            "compares[0].value: with this target it must be a whole number",
        ),
        (
            r#"{"compares": [{"key": "a", "target": "value", "result": "equal", "value": 1}]}"#,
            "compares[0].value: with this target it must be text",
        ),
        (
            r#"{"compares": [{"key": "a", "target": "age", "result": "equal", "value": 1}]}"#,
            "compares[0].target: unknown variant",
        ),
    ];
    for (document, expected) in cases {
        let problem = parse(document.as_bytes()).unwrap_err().into_response();
        let body = problem.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(expected), "{document}: {detail}");
    }
}
