//! Who may open one stream more: by the node's connections, by the client's address, and by the
//! rate of them all.
//!
//! Every transport asks [`Admission::enter`] before it joins, and keeps the permit as long as it
//! receives. The cap of a user is the hub's: only it knows how many streams one has.

pub(crate) mod address;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use dashmap::{DashMap, Entry};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::request::Parts;
use ipnet::IpNet;
use prometheus::IntCounterVec;
use rand::Rng;
use tidegate_transport::ConnectionInfo;

use crate::problem::Problem;

/// Settings of admission.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Streams that one client address may have open on this node; an IPv6 client is known by its
    /// /64. 0, the default: any number, for behind a proxy that is not among `trusted_proxies` all
    /// clients have one address.
    pub address_connections: u32,
    /// New streams per second on this node. 0, the default: any number.
    pub connect_rate: u32,
    /// How many of them at once; 0: one second's worth.
    pub connect_burst: u32,
    /// Peers whose word is taken for the address of the client behind them.
    pub trusted_proxies: Vec<IpNet>,
}

/// Lets streams in, or says why not.
pub(crate) struct Admission {
    /// Per address; 0: any number.
    limit: u32,
    proxies: Vec<IpNet>,
    open: Arc<Open>,
    rate: Option<DefaultDirectRateLimiter>,
    refused: IntCounterVec,
}

/// Streams open now, by address. An entry goes with the last of them, so there are never more
/// entries than streams.
type Open = DashMap<IpAddr, u32>;

/// Counts a stream among those of its address until it is dropped.
pub(crate) struct AddressPermit {
    open: Arc<Open>,
    address: IpAddr,
}

/// Why a stream may not be opened just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The node has as many connections as it may.
    Overloaded,
    /// The address has as many streams as it may.
    AddressLimit,
    /// Too many at once.
    ConnectRate,
}

impl Admission {
    pub(crate) fn new(options: &Options, refused: IntCounterVec) -> Self {
        let rate = NonZeroU32::new(options.connect_rate).map(|rate| {
            let burst = NonZeroU32::new(options.connect_burst).unwrap_or(rate);
            RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
        });
        let (limit, proxies) = (options.address_connections, options.trusted_proxies.clone());
        Self { limit, proxies, open: Arc::default(), rate, refused }
    }

    /// Lets a stream in, or counts the refusal. No permit: addresses are not limited.
    pub(crate) fn enter(&self, request: &Parts) -> Result<Option<Box<AddressPermit>>, Refused> {
        let connection = request.extensions.get::<ConnectionInfo>();
        if connection.is_some_and(|connection| connection.overloaded) {
            return Err(self.refuse(Refused::Overloaded));
        }
        let permit = match connection {
            Some(connection) if self.limit > 0 => {
                let client = address::client(connection.peer, &request.headers, &self.proxies);
                Some(self.count(client)?)
            }
            _ => None,
        };
        // Last: who is refused for another reason takes nothing of it.
        match &self.rate {
            Some(rate) if rate.check().is_err() => Err(self.refuse(Refused::ConnectRate)),
            _ => Ok(permit),
        }
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&self, reason: Refused) -> Refused {
        self.refused.with_label_values(&[reason.reason()]).inc();
        reason
    }

    fn count(&self, client: IpAddr) -> Result<Box<AddressPermit>, Refused> {
        let address = address::counted(client);
        let mut count = self.open.entry(address).or_insert(0);
        if *count >= self.limit {
            return Err(self.refuse(Refused::AddressLimit));
        }
        *count += 1;
        Ok(Box::new(AddressPermit { open: Arc::clone(&self.open), address }))
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.open.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Refused {
    /// The word for it: in `tidegate:closing`, and as the metric's label.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::AddressLimit => "address_limit",
            Self::ConnectRate => "connect_rate",
        }
    }

    /// The answer to whoever reads a status.
    pub(crate) fn problem(self) -> Problem {
        // Not the same for all: they would come back together.
        let seconds = rand::rng().random_range(2..=10);
        match self {
            Self::Overloaded => Problem::busy(
                "This node has as many connections as it may. Try again, or another node.",
                seconds,
            ),
            Self::AddressLimit => Problem::address_limit(
                "Your address has as many streams open on this node as allowed. Close some, or try again.",
                seconds,
            ),
            Self::ConnectRate => {
                Problem::busy("Too many streams are being opened on this node. Try again.", seconds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(options: &Options) -> Admission {
        let opts = prometheus::Opts::new("refused", "refused");
        Admission::new(options, IntCounterVec::new(opts, &["reason"]).unwrap())
    }

    fn request(peer: &str, overloaded: bool) -> Parts {
        let mut request = http::Request::new(()).into_parts().0;
        request.extensions.insert(ConnectionInfo::new(peer.parse().unwrap(), overloaded));
        request
    }

    #[test]
    fn an_address_has_its_places_and_leaves_nothing_behind() {
        let admission = admission(&Options { address_connections: 2, ..Options::default() });
        let enter = |peer| admission.enter(&request(peer, false));
        let guards = [enter("192.0.2.1"), enter("192.0.2.1")];
        assert_eq!(enter("192.0.2.1").err(), Some(Refused::AddressLimit));
        assert!(enter("192.0.2.2").is_ok());
        assert_eq!(admission.refused.with_label_values(&["address_limit"]).get(), 1);
        let [first, second] = guards;
        drop(first);
        drop(enter("192.0.2.1").ok().unwrap());
        drop(second);
        assert!(admission.open.is_empty());
    }

    #[test]
    fn an_ipv6_client_has_a_whole_network() {
        let admission = admission(&Options { address_connections: 1, ..Options::default() });
        let enter = |peer| admission.enter(&request(peer, false));
        let _first = enter("2001:db8::1").ok().unwrap();
        assert_eq!(enter("2001:db8::ffff:1").err(), Some(Refused::AddressLimit));
        assert!(enter("2001:db8:0:1::1").is_ok());
        let _mapped = enter("::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Refused::AddressLimit));
    }

    #[test]
    fn a_refusal_takes_nothing_of_the_rate() {
        let options =
            Options { connect_rate: 1, connect_burst: 2, address_connections: 1, ..Options::default() };
        let admission = admission(&options);
        assert_eq!(admission.enter(&request("192.0.2.1", true)).err(), Some(Refused::Overloaded));
        let _first = admission.enter(&request("192.0.2.1", false)).ok().unwrap();
        assert_eq!(admission.enter(&request("192.0.2.1", false)).err(), Some(Refused::AddressLimit));
        assert!(admission.enter(&request("192.0.2.2", false)).is_ok());
        assert_eq!(admission.enter(&request("192.0.2.3", false)).err(), Some(Refused::ConnectRate));
        assert_eq!(admission.open.len(), 1, "whom the rate refuses takes no place");
    }
}
