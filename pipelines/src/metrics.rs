//! A job's numbers for Prometheus: `/metrics` and `/health` over HTTP, while it runs.
//!
//! ```text
//!   workers ─▶ atomics (run::Status) ◀── read at a scrape ── families.rs ─▶ exposition.rs ─▶ server.rs ─▶ GET /metrics
//!                     ▲
//!   brokers ─ ends.rs ┘ where splits end, asked every 15 s by a thread of its own
//! ```
//!
//! Nothing is kept for the metrics alone: what workers count once a batch is all there is, and a scrape reads it. Each process of a
//! job has an endpoint of its own and tells of its own workers. What the metrics are is listed in `pipelines/METRICS.md`.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::plan::Plan;
use crate::run::Status;

mod ends;
mod exposition;
mod families;
mod server;

pub use server::Serving;

/// Why metrics can't be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address means nothing, or can't be listened on.
    #[error(
        "can't serve metrics at {address}: {source}; give a host:port that is free, such as 127.0.0.1:9090, or port 0 for any"
    )]
    Address {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server can't be started.
    #[error("can't start the server of metrics: {0}")]
    Start(io::Error),
}

/// An address that is listened on, for a job that is about to begin.
#[derive(Debug)]
pub struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
}

impl Metrics {
    /// Listens on `address`, `host:port`; port 0 takes any that is free. Processes of one job on one machine are told one address:
    /// process number `process` takes the port that comes so many after it.
    ///
    /// # Errors
    /// [`MetricsError::Address`].
    pub fn bind(address: &str, process: usize) -> Result<Metrics, MetricsError> {
        let failed = |source| MetricsError::Address { address: address.to_owned(), source };
        let mut addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(failed)?.collect();
        for address in addresses.iter_mut().filter(|address| address.port() != 0) {
            let port = u16::try_from(process).ok().and_then(|process| address.port().checked_add(process));
            let none = || failed(io::Error::other(format!("there is no port for process {process}")));
            address.set_port(port.ok_or_else(none)?);
        }
        let listener = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Metrics { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the numbers of a job until the result is dropped.
    ///
    /// # Errors
    /// [`MetricsError::Start`].
    pub fn serve(self, plan: &Plan, status: Status) -> Result<Serving, MetricsError> {
        let ends = ends::watch(plan, &status);
        server::start(self.listener, status, ends).map_err(MetricsError::Start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_is_named() {
        let taken = Metrics::bind("127.0.0.1:0", 3).expect("a free port");
        let address = taken.address().to_string();
        assert!(!address.ends_with(":0"), "{address}");
        for wrong in [address.as_str(), "nowhere", "127.0.0.1", "127.0.0.1:66000", "203.0.113.7:9090"] {
            let error = Metrics::bind(wrong, 0).expect_err(wrong).to_string();
            assert!(error.starts_with(&format!("can't serve metrics at {wrong}: ")), "{error}");
            assert!(error.ends_with("or port 0 for any"), "{error}");
        }
        let error = Metrics::bind("127.0.0.1:65535", 1).expect_err("no such port").to_string();
        assert!(error.contains("no port for process 1"), "{error}");
    }
}
