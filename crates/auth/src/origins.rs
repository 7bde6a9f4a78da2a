//! Which pages may read answers and use cookies: origins, as they are configured and as browsers
//! send them.

use reqwest::Url;

/// Stands for the subdomains while a pattern is parsed as a URL.
const STAND_IN: &str = "any-subdomain.";

/// Origins whose pages may use the gateway. Everything that compares an `Origin` asks this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    entries: Vec<Entry>,
}

/// `scheme://host` or `scheme://*.host`, in the form in which browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Exact(String),
    /// Every name below `.host`, at any depth, and not the host itself.
    Below {
        scheme: &'static str,
        suffix: String,
        port: String,
    },
}

impl Origins {
    /// Reads them as they are configured. Each mistake with its index.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Vec<(usize, String)>> {
        let (mut origins, mut mistakes) = (Self::default(), Vec::new());
        for (index, text) in texts.iter().map(AsRef::as_ref).enumerate() {
            match Entry::parse(text) {
                _ if text == "*" => origins.any = true,
                Ok(entry) => origins.entries.push(entry),
                Err(mistake) => mistakes.push((index, format!("{text:?} {mistake}"))),
            }
        }
        if mistakes.is_empty() { Ok(origins) } else { Err(mistakes) }
    }

    /// Whether any page may read answers, though without cookies: `*`.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether pages of this origin are named, by themselves or by a domain above them. `*` names
    /// none.
    pub fn names(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = split(origin) else { return false };
        let authority = without_default_port(scheme, authority).to_ascii_lowercase();
        self.entries.iter().any(|entry| match entry {
            Entry::Exact(exact) => {
                exact.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) == Some(&authority)
            }
            Entry::Below { scheme: wanted, suffix, port } => {
                *wanted == scheme
                    && authority
                        .strip_suffix(port.as_str())
                        .and_then(|host| host.strip_suffix(suffix.as_str()))
                        .is_some_and(is_subdomain)
            }
        })
    }

    /// Whether a request that calls the gateway by this authority may come from a page that it
    /// served itself.
    pub fn names_host(&self, authority: &str) -> bool {
        ["https", "http"].iter().any(|scheme| self.names(&format!("{scheme}://{authority}")))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "scheme, host and port if it is not the usual one, such as https://app.example";
        if text.eq_ignore_ascii_case("null") {
            return Err("can't be allowed: sandboxed pages of every site send it".into());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("is not an origin: it needs {FORM}"));
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => return Err("is not the origin of a web page: it must begin with https:// or http://".into()),
        };
        if let Some((host, _)) = rest.split_once(['/', '?', '#', '\\']) {
            return Err(format!(
                "has something after the host, which browsers never send: write {scheme}://{host}"
            ));
        }
        if rest.contains('@') {
            return Err("has a user in it, which browsers never send".into());
        }
        let (below, host) = match rest.strip_prefix("*.") {
            Some(host) => (true, format!("{STAND_IN}{host}")),
            None => (false, rest.to_owned()),
        };
        if host.contains('*') {
            return Err(
                "has a * that does not stand for whole subdomains: write https://*.example.com".into()
            );
        }
        let url = Url::parse(&format!("{scheme}://{host}"))
            .map_err(|error| format!("is not an origin: {error}"))?;
        let canonical = url.origin().ascii_serialization();
        if !below {
            return Ok(Self::Exact(canonical));
        }
        let host = url.host_str().unwrap_or_default();
        let parent = host.strip_prefix(STAND_IN).unwrap_or_default();
        if parent.is_empty() || !(parent.contains('.') || parent == "localhost") {
            return Err("covers a whole top-level domain: name your own domain".into());
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self::Below { scheme, suffix: format!(".{parent}"), port })
    }
}

/// Scheme and authority of an `Origin`, if it can be one.
pub(crate) fn split(origin: &str) -> Option<(&'static str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = ["https", "http"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    Some((scheme, authority))
}

/// A host as browsers send it: the port that its scheme implies is left out.
pub(crate) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    authority.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(authority)
}

/// One or more labels. Nothing else may stand there: `https://evil.example/.example.com` is no
/// subdomain.
fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(configured: &str, origin: &str) -> bool {
        Origins::parse(&[configured]).unwrap().names(origin)
    }

    #[test]
    fn an_origin_is_compared_as_browsers_send_it() {
        for (configured, sent) in [
            ("https://app.example", "https://app.example"),
            ("https://APP.Example", "https://app.example"),
            ("HTTPS://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example", "https://app.example:443"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0::1]", "http://[::1]"),
        ] {
            assert!(names(configured, sent), "{configured} {sent}");
        }
        for (configured, sent) in [
            ("https://app.example", "http://app.example"),
            ("https://app.example", "https://app.example:80"),
            ("https://app.example", "https://app.example.evil"),
            ("https://app.example", "https://evil-app.example"),
            ("https://app.example:8443", "https://app.example"),
            ("https://app.example", "null"),
            ("https://app.example", ""),
            ("*", "https://app.example"),
        ] {
            assert!(!names(configured, sent), "{configured} {sent}");
        }
    }

    #[test]
    fn a_wildcard_is_for_subdomains_of_any_depth_and_nothing_else() {
        for sent in ["https://a.example.com", "https://a.b-1.example.com", "https://A.EXAMPLE.com:443"] {
            assert!(names("https://*.Example.com", sent), "{sent}");
        }
        for sent in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a..example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil",
            "https://evil.example/.example.com",
            "https://evil.example?.example.com",
            "https://evil.example#.example.com",
            "https://evil.example\\.example.com",
            "https://evil.example:1@a.example.com",
            "https://evil.example:80.example.com",
            "https://a.example.com.",
        ] {
            assert!(!names("https://*.example.com", sent), "{sent}");
        }
        assert!(names("https://*.example.com:8443", "https://a.example.com:8443"));
        assert!(!names("https://*.example.com:8443", "https://a.example.com"));
        assert!(names("http://*.localhost:3000", "http://shop.localhost:3000"));
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_the_reason() {
        for (configured, reason) in [
            ("https://app.example/", "write https://app.example"),
            ("https://app.example/path", "write https://app.example"),
            ("https://*.example.com/", "write https://*.example.com"),
            ("https://app.example?x", "after the host"),
            ("https://me@app.example", "a user"),
            ("app.example", "is not an origin"),
            ("", "is not an origin"),
            ("https://", "is not an origin"),
            ("https://app.example:99999", "is not an origin"),
            ("ftp://app.example", "must begin with https"),
            ("null", "sandboxed"),
            ("https://*", "stand for whole subdomains"),
            ("https://*.*.example.com", "stand for whole subdomains"),
            ("https://app-*.example.com", "stand for whole subdomains"),
            ("https://*example.com", "stand for whole subdomains"),
            ("https://*.com", "top-level domain"),
            ("https://*.1.2.3.4", "is not an origin"),
        ] {
            let mistakes = Origins::parse(&["https://good.example", configured]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{configured}");
            assert!(mistakes[0].0 == 1 && mistakes[0].1.contains(reason), "{mistakes:?}");
        }
        assert!(Origins::parse(&["*"]).unwrap().any());
    }

    #[test]
    fn hosts_are_named_with_either_scheme() {
        let origins = Origins::parse(&["https://app.example", "http://*.dev.example:8080"]).unwrap();
        for (host, named) in [
            ("app.example", true),
            ("App.example:443", true),
            ("a.dev.example:8080", true),
            ("evil.example", false),
            ("dev.example:8080", false),
        ] {
            assert_eq!(origins.names_host(host), named, "{host}");
        }
    }
}
