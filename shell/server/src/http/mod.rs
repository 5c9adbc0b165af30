//! The HTTP door: translates requests to commands and queries, and answers to status codes, headers and
//! JSON. It decides nothing. See `docs/reference/http-api.md`.

mod admin;
mod body;
mod conditions;
mod fence;
mod flight;
mod idempotency;
mod keys;
mod keyspaces;
mod leases;
mod list;
mod locks;
mod lost;
mod openapi;
mod options;
mod params;
mod past;
mod path;
mod problem;
mod receipt;
mod server;
mod state;
mod status;
mod txn;
mod values;
mod watch;

use std::time::Instant;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};

use problem::HttpProblem;

pub(crate) use server::Server;
pub(crate) use state::AppState;

/// Every route. What is here is in the OpenAPI document, and the other way round.
fn router(state: AppState) -> Router {
    let key = get(keys::get).put(keys::put).delete(keys::delete);
    let keyspace =
        get(keyspaces::show).put(keyspaces::create).patch(keyspaces::alter).delete(keyspaces::delete);
    let lock = get(locks::show).post(locks::acquire).delete(locks::release);
    let election = get(locks::observe).post(locks::acquire).put(locks::put_value).delete(locks::release);
    let value = get(values::get).post(values::post);
    Router::new()
        .route("/v1/keyspaces", get(keyspaces::list))
        .route("/v1/keyspaces/{keyspace}", keyspace)
        .route("/v1/keyspaces/{keyspace}/keys", get(list::list))
        .route("/v1/keyspaces/{keyspace}/keys/", key.clone())
        .route("/v1/keyspaces/{keyspace}/keys/{*key}", key)
        .route("/v1/keyspaces/{keyspace}/values/", value.clone())
        .route("/v1/keyspaces/{keyspace}/values/{*key}", value)
        .route("/v1/keyspaces/{keyspace}/txn", post(txn::post))
        .route("/v1/keyspaces/{keyspace}/watch", get(watch::watch))
        .route("/v1/keyspaces/{keyspace}/compact", post(past::compact))
        .route("/v1/keyspaces/{keyspace}/leases", get(leases::list).post(leases::grant))
        .route("/v1/keyspaces/{keyspace}/leases/{lease}", get(leases::show).delete(leases::revoke))
        .route("/v1/keyspaces/{keyspace}/leases/{lease}/keepalive", post(leases::keep_alive))
        .route("/v1/keyspaces/{keyspace}/locks/{*name}", lock)
        .route("/v1/keyspaces/{keyspace}/elections/{*name}", election)
        .route("/v1/keyspaces/{keyspace}/hash", get(admin::hash))
        .route("/v1/lost-writes", get(lost::list).delete(lost::acknowledge))
        .route("/v1/status", get(status::status))
        .route("/v1/openapi.json", get(admin::openapi))
        .route("/errors/{code}", get(admin::error_page))
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/metrics", get(admin::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(state.clone(), measure))
        .with_state(state)
}

async fn no_route(uri: Uri) -> HttpProblem {
    HttpProblem::invalid(
        format!("there is nothing at {}", uri.path()),
        "GET /v1/openapi.json lists what there is",
    )
    .with_status(StatusCode::NOT_FOUND)
}

async fn no_method(method: Method, uri: Uri) -> HttpProblem {
    HttpProblem::invalid(
        format!("{method} is not a method of {}", uri.path()),
        "use a method that the Allow header of this answer names",
    )
    .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

async fn measure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    state.metrics().http.answered(&method, route, response.status(), begun.elapsed());
    response
}
