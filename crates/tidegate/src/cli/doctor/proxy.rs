//! Who stands in between, as far as headers tell, and what has to be changed there.

use reqwest::header::HeaderMap;

/// Those who can be recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    Cloudflare,
    CloudFront,
    Alb,
    Envoy,
    Varnish,
    Apache,
    Caddy,
}

/// What holds events back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    Buffering,
    Compression,
    Timeout,
}

/// Those seen in an answer's headers.
pub(super) fn seen(headers: &HeaderMap) -> Vec<Proxy> {
    let text = |name: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join(", ").to_ascii_lowercase()
    };
    let (server, via, cookies) = (text("server"), text("via"), text("set-cookie"));
    [
        (Proxy::Nginx, server.contains("nginx") || server.contains("openresty")),
        (Proxy::Cloudflare, server.contains("cloudflare") || headers.contains_key("cf-ray")),
        (Proxy::CloudFront, via.contains("cloudfront") || headers.contains_key("x-amz-cf-id")),
        (Proxy::Alb, server.contains("awselb") || cookies.contains("awsalb")),
        (Proxy::Envoy, server.contains("envoy") || headers.contains_key("x-envoy-upstream-service-time")),
        (Proxy::Varnish, via.contains("varnish") || headers.contains_key("x-varnish")),
        (Proxy::Apache, server.contains("apache")),
        (Proxy::Caddy, server.contains("caddy") || via.contains("caddy")),
    ]
    .into_iter()
    .filter_map(|(proxy, there)| there.then_some(proxy))
    .collect()
}

/// What to change: at those seen, or at all that come into question.
pub(super) fn advice(ill: Ill, seen: &[Proxy]) -> Vec<String> {
    const USUAL: [Proxy; 3] = [Proxy::Nginx, Proxy::Alb, Proxy::Cloudflare];
    let suspects = if seen.is_empty() { &USUAL[..] } else { seen };
    let mut lines: Vec<String> =
        suspects.iter().filter_map(|proxy| proxy.remedy(ill)).map(Into::into).collect();
    if lines.is_empty() {
        lines.push(match ill {
            Ill::Buffering => {
                "find who collects responses before passing them on, and turn that off for /v1/events".into()
            }
            Ill::Compression => "leave text/event-stream out of what is compressed".into(),
            Ill::Timeout => {
                "raise the idle time-out of whoever is between to more than two heartbeats".into()
            }
        });
    }
    lines
}

impl Proxy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Cloudflare => "Cloudflare",
            Self::CloudFront => "CloudFront",
            Self::Alb => "an AWS load balancer",
            Self::Envoy => "Envoy",
            Self::Varnish => "Varnish",
            Self::Apache => "Apache",
            Self::Caddy => "Caddy",
        }
    }

    fn remedy(self, ill: Ill) -> Option<&'static str> {
        use Ill::{Buffering, Compression, Timeout};
        Some(match (self, ill) {
            (Self::Nginx, Buffering) => {
                "nginx: `proxy_buffering off; proxy_cache off;` in the location, and no `proxy_ignore_headers X-Accel-Buffering`"
            }
            (Self::Nginx, Compression) => {
                "nginx: `gzip off;` in the location, or text/event-stream out of `gzip_types`"
            }
            (Self::Nginx, Timeout) => "nginx: `proxy_read_timeout 3600s;` in the location (60s by default)",
            (Self::Cloudflare, Buffering) => {
                "Cloudflare: no cache rule for /v1/events; a quick tunnel (trycloudflare.com) buffers GET, so subscribe by POST there"
            }
            (Self::Cloudflare, Compression) => {
                "Cloudflare: a compression rule that disables it for /v1/events"
            }
            (Self::Cloudflare, Timeout) => {
                "Cloudflare: ends what is silent for 100 s; keep stream.heartbeat below"
            }
            (Self::CloudFront, Buffering) => "CloudFront: the caching policy CachingDisabled for /v1/*",
            (Self::CloudFront, Compression) => {
                "CloudFront: \"compress objects automatically\" off for /v1/events"
            }
            (Self::CloudFront, Timeout) => "CloudFront: raise the origin response timeout (30 s by default)",
            (Self::Alb, Timeout) => "ALB: raise `idle_timeout.timeout_seconds` (60 by default, up to 4000)",
            (Self::Envoy, Timeout) => {
                "Envoy: `timeout: 0s` for the route, and a longer `stream_idle_timeout` (5 min by default)"
            }
            (Self::Envoy, Buffering) => "Envoy: no buffer filter for the route",
            (Self::Varnish, Buffering) => "Varnish: `return (pipe)` for /v1/events",
            (Self::Varnish, Timeout) => "Varnish: raise `pipe_timeout` and `between_bytes_timeout`",
            (Self::Apache, Buffering) => "Apache: `ProxyPass … flushpackets=on`",
            (Self::Apache, Compression) => "Apache: `SetEnv no-gzip 1` for /v1/events",
            (Self::Apache, Timeout) => "Apache: a longer `ProxyTimeout` (60 s by default)",
            (Self::Caddy, Buffering) => "Caddy: `flush_interval -1` in reverse_proxy",
            (Self::Caddy, Compression) => "Caddy: leave text/event-stream out of `encode`",
            (Self::Alb, _) | (Self::Envoy | Self::Varnish, Compression) | (Self::Caddy, Timeout) => {
                return None;
            }
        })
    }
}
