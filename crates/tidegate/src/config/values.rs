//! Kinds of values: secrets that can't be printed by accident, sizes, and words instead of flags.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidegate_protocol::EventName;

/// What stands in the place of a secret wherever one would be shown.
pub(crate) const REDACTED: &str = "[redacted]";

/// A secret: shown by nothing, also not by `config print`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself, for whoever has to present or check it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { REDACTED })
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { REDACTED })
    }
}

/// A URL that may hold a password. Shown without it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    /// The whole URL, password included.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = reqwest::Url::parse(&self.0) else {
            return f.write_str(if self.is_empty() { "" } else { REDACTED });
        };
        match url.password().is_some().then(|| url.set_password(Some("redacted"))) {
            None => f.write_str(&self.0),
            Some(Ok(())) => url.fmt(f),
            Some(Err(())) => f.write_str(REDACTED),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes: `65536` or `"64KiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct Size(bytesize::ByteSize);

impl Size {
    pub(crate) const fn kib(n: u64) -> Self {
        Self(bytesize::ByteSize::kib(n))
    }

    pub(crate) const fn mib(n: u64) -> Self {
        Self(bytesize::ByteSize::mib(n))
    }

    pub(crate) const fn bytes(self) -> u64 {
        self.0.as_u64()
    }
}

impl fmt::Display for Size {
    /// Exact, unlike a rounded `1.4 MiB`: what is printed can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if bytes != 0 && bytes.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", bytes >> shift);
            }
        }
        write!(f, "{bytes}B")
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Addresses: `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Network(pub(crate) ipnet::IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(Into::into));
        network.map(Self).map_err(|_| format!("{text:?} is no network such as 10.0.0.0/8, and no address"))
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// What an idle stream is sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum HeartbeatStyle {
    /// A comment line: invisible to `EventSource`.
    Comment,
    /// An event without an id, for clients that watch for silence themselves.
    Event(EventName),
}

impl HeartbeatStyle {
    /// An event of this name; a comment, if it is no name.
    pub(crate) fn event(name: &str) -> Self {
        EventName::parse(name).map_or(Self::Comment, Self::Event)
    }
}

impl FromStr for HeartbeatStyle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "comment" => Ok(Self::Comment),
            Some(("event", name)) => {
                EventName::parse(name).map(Self::Event).map_err(|error| error.to_string())
            }
            _ => Err(format!("{text:?} is neither \"comment\" nor \"event:NAME\"")),
        }
    }
}

impl TryFrom<String> for HeartbeatStyle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Serialize for HeartbeatStyle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Comment => serializer.serialize_str("comment"),
            Self::Event(name) => serializer.collect_str(&format_args!("event:{}", name.as_str())),
        }
    }
}

/// `true`, `false`, or what the circumstances say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub(crate) enum Toggle {
    /// `"auto"`: somebody else's setting decides.
    #[default]
    Auto,
    /// `true`.
    On,
    /// `false`.
    Off,
}

impl Toggle {
    /// The decision, where `auto` means `otherwise`.
    pub(crate) fn or(self, otherwise: bool) -> bool {
        match self {
            Self::Auto => otherwise,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl TryFrom<serde_json::Value> for Toggle {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        match (value.as_bool(), value.as_str()) {
            (Some(true), _) | (_, Some("true")) => Ok(Self::On),
            (Some(false), _) | (_, Some("false")) => Ok(Self::Off),
            (_, Some("auto")) => Ok(Self::Auto),
            _ => Err(format!("{value} is none of true, false and \"auto\"")),
        }
    }
}

impl Serialize for Toggle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::On => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("{REDACTED:?}"));

        let url = SecretUrl("redis://app:hunter2@cache:6379/1".into());
        assert_eq!(url.to_string(), "redis://app:redacted@cache:6379/1");
        assert_eq!(SecretUrl("redis://:hunter2@".into()).to_string(), REDACTED);
        assert_eq!(SecretUrl("redis://cache".into()).to_string(), "redis://cache");
    }

    #[test]
    fn sizes_read_back_as_written() {
        for (bytes, text) in [(65_536, "64KiB"), (1_500, "1500B"), (0, "0B"), (3 << 30, "3GiB")] {
            let size = Size(bytesize::ByteSize(bytes));
            assert_eq!(size.to_string(), text);
            assert_eq!(serde_json::from_value::<Size>(text.into()).unwrap(), size);
        }
    }
}
