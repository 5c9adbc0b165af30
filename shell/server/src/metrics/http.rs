//! Requests over HTTP.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Which requests. Every value comes from a fixed set: clients cannot make new series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    method: &'static str,
    route: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Routed, Histogram, fn() -> Histogram>,
    pub(crate) connections: Gauge,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &mut Registry) -> HttpMetrics {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let metrics = HttpMetrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            connections: Gauge::default(),
        };
        let (requests, seconds) = (metrics.requests.clone(), metrics.seconds.clone());
        registry.register("http_requests", "HTTP requests answered", requests);
        let help = "Time from a request's head to its answer";
        registry.register_with_unit("http_request", help, Unit::Seconds, seconds);
        registry.register("http_connections", "Open HTTP connections", metrics.connections.clone());
        metrics
    }

    /// `route` is the route's pattern, or `other`.
    pub(crate) fn answered(&self, method: &Method, route: String, status: StatusCode, time: Duration) {
        let method = method_name(method);
        self.seconds.get_or_create(&Routed { method, route: route.clone() }).observe(time.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status: status.as_u16() }).inc();
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
