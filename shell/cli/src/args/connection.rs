//! Flags of every command that talks to a cluster.

use std::time::Duration;

use clap::Args;

use crate::{
    client::{Client, Endpoint, Keyspace},
    failure::Failure,
};

/// Where the first node of `quorate dev` serves HTTP unless told otherwise.
pub const DEV_HTTP_PORT: u16 = 7400;
/// Endpoints that are tried when none are named: those of `quorate dev`.
const DEV_ENDPOINTS: u16 = 3;

/// Which cluster, which keyspace, how patient.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Connection {
    /// HTTP addresses of the cluster's nodes, separated by commas; tried in turn
    /// [default: http://127.0.0.1:7400 and the next two ports, as `quorate dev` serves them]
    #[arg(long, env = "QUORATE_ENDPOINTS", value_delimiter = ',', value_name = "URL,URL")]
    pub endpoints: Vec<String>,
    /// Keyspace to read and write
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub keyspace: String,
    /// Give up after this many milliseconds, retries included. A write that was sent and not answered
    /// by then has an unknown outcome, and is reported so
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub timeout_ms: u64,
}

impl Connection {
    /// The endpoints named, or those of `quorate dev`.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        if self.is_default() {
            return Ok((0..DEV_ENDPOINTS).map(|node| dev_endpoint(DEV_HTTP_PORT + node)).collect());
        }
        let named = self.endpoints.iter().filter(|text| !text.trim().is_empty());
        named
            .map(|text| {
                let advice = "for example: --endpoints http://127.0.0.1:7400,http://127.0.0.1:7401";
                text.parse().map_err(|error| Failure::usage(format!("{error}")).next(advice))
            })
            .collect()
    }

    /// Whether no endpoints were named.
    pub fn is_default(&self) -> bool {
        self.endpoints.iter().all(|text| text.trim().is_empty())
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// A client of the cluster.
    ///
    /// # Errors
    /// If an endpoint is malformed.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.endpoints()?, self.timeout()))
    }

    /// The keyspace.
    ///
    /// # Errors
    /// If an endpoint is malformed.
    pub fn keyspace(&self) -> Result<Keyspace, Failure> {
        Ok(Keyspace::new(self.client()?, &self.keyspace))
    }
}

/// The endpoint of a local node.
pub fn dev_endpoint(port: u16) -> Endpoint {
    format!("127.0.0.1:{port}").parse().expect("an address and a port")
}
