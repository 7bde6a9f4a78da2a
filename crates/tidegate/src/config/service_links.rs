//! Variables that begin like settings because of what somebody called a Kubernetes Service.

use std::net::{IpAddr, SocketAddr};

/// Was a setting of docker-compose.yml, and may still be exported where it is used.
const FORMER: &str = "TIDEGATE_NOFILE";

/// Whether a variable is one of those that Kubernetes puts into every pod for each Service of its
/// namespace (and Docker for links), by name and value. A Service called `tidegate`, or
/// `tidegate-redis`, makes eight.
///
/// The value counts as well, so that a mistyped setting is rarely taken for one.
pub(super) fn is_foreign(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    match words[..] {
        [.., "SERVICE", "HOST"] => is_address(value),
        [.., "SERVICE", "PORT"] => is_port(value),
        [.., "PORT", port, protocol, "PROTO"] if is_numbered(port, protocol) => is_protocol(value),
        [.., "PORT", port, protocol, "PORT"] if is_numbered(port, protocol) => value == port,
        [.., "PORT", port, protocol, "ADDR"] if is_numbered(port, protocol) => is_address(value),
        [.., "PORT", port, protocol] if is_numbered(port, protocol) => is_endpoint(value),
        [.., "PORT"] => is_endpoint(value),
        // A port with a name: …_SERVICE_PORT_HTTP.
        _ => name == FORMER || (name.contains("_SERVICE_PORT_") && is_port(value)),
    }
}

/// `8080`, `TCP`.
fn is_numbered(port: &str, protocol: &str) -> bool {
    is_port(port) && is_protocol(&protocol.to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_protocol(text: &str) -> bool {
    matches!(text, "tcp" | "udp" | "sctp")
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `tcp://10.0.0.7:80`.
fn is_endpoint(text: &str) -> bool {
    let parts = text.split_once("://");
    parts.is_some_and(|(protocol, address)| is_protocol(protocol) && address.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kubernetes_sets_is_foreign() {
        for (name, value) in [
            ("TIDEGATE_SERVICE_HOST", "10.0.0.7"),
            ("TIDEGATE_SERVICE_PORT", "80"),
            ("TIDEGATE_SERVICE_PORT_HTTP", "80"),
            ("TIDEGATE_SERVICE_PORT_HTTP_ADMIN", "81"),
            ("TIDEGATE_PORT", "tcp://10.0.0.7:80"),
            ("TIDEGATE_PORT", "udp://[fd00::7]:80"),
            ("TIDEGATE_PORT_80_TCP", "tcp://10.0.0.7:80"),
            ("TIDEGATE_PORT_80_TCP_PROTO", "tcp"),
            ("TIDEGATE_PORT_80_TCP_PORT", "80"),
            ("TIDEGATE_PORT_80_TCP_ADDR", "fd00::7"),
            ("TIDEGATE_REDIS_SERVICE_HOST", "10.0.0.8"),
            ("TIDEGATE_REDIS_PORT_6379_TCP", "tcp://10.0.0.8:6379"),
        ] {
            assert!(is_foreign(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("TIDEGATE_PORT", "8080"),
            ("TIDEGATE_REDIS_PORT", "6379"),
            ("TIDEGATE_REDIS_HOST", "10.0.0.8"),
            ("TIDEGATE_SERVICE_HOST", "gate.example"),
            ("TIDEGATE_SERVICE_PORT", "http"),
            ("TIDEGATE_PORT_80_TCP_PORT", "81"),
            ("TIDEGATE_REDIS_URL", "tcp://10.0.0.8:6379"),
            ("TIDEGATE_STREAM__HEARTBEET", "1s"),
        ] {
            assert!(!is_foreign(name, value), "{name}={value}");
        }
    }
}
