//! Where a node serves HTTP.

use std::{fmt, str::FromStr};

use http::uri::{Authority, PathAndQuery, Scheme};

/// `http://host:port` of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: Authority,
}

/// The text does not name an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with host and port.
    #[error("`{0}` is not an endpoint; write http://HOST:PORT or HOST:PORT")]
    Malformed(String),
    /// A scheme other than http.
    #[error("`{0}`: only http:// endpoints are supported")]
    Scheme(String),
    /// A path after the port.
    #[error("`{0}`: an endpoint has no path; write http://HOST:PORT")]
    Path(String),
}

impl Endpoint {
    /// The URI of a request. `path` is percent-encoded and begins with a slash.
    pub fn uri(&self, path: &str) -> Result<http::Uri, http::Error> {
        http::Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::try_from(path)?)
            .build()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let text = text.trim();
        let malformed = || EndpointError::Malformed(text.to_owned());
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(EndpointError::Scheme(text.to_owned())),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(EndpointError::Path(text.to_owned()));
        }
        let authority: Authority = rest.parse().map_err(|_| malformed())?;
        if authority.host().is_empty() || authority.port_u16().is_none() || rest.contains('@') {
            return Err(malformed());
        }
        Ok(Endpoint { authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_urls_and_host_ports() {
        for text in ["http://127.0.0.1:7400", "127.0.0.1:7400", " http://127.0.0.1:7400/ "] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), "http://127.0.0.1:7400");
        }
        assert_eq!("http://[::1]:7".parse::<Endpoint>().expect("IPv6").to_string(), "http://[::1]:7");
    }

    #[test]
    fn refuses_what_it_cannot_reach() {
        for text in ["", "http://", "localhost", "https://h:1", "http://h:1/v1", "http://u@h:1", "h:99999"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn dot_segments_reach_the_server_untouched() {
        let endpoint: Endpoint = "h:1".parse().expect("valid");
        let uri = endpoint.uri("/v1/keyspaces/default/keys/..").expect("valid");
        assert_eq!(uri.path(), "/v1/keyspaces/default/keys/..");
    }
}
