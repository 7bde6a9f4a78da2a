//! What topics keep and who may use them.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_auth::Identity;
use tidegate_broker::Retention;
use tidegate_protocol::Topic;

/// What topics keep and who may use them, by their first segment.
#[derive(Clone, Debug)]
pub struct Namespaces {
    /// For those without settings of their own.
    pub default: Namespace,
    /// By name.
    pub named: HashMap<String, Namespace>,
}

/// The settings of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    /// What is kept.
    pub retention: Retention,
    /// Who may subscribe.
    pub subscribe: Policy,
    /// Who may publish.
    pub publish: Policy,
}

/// Who may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Whose credential grants it.
    #[default]
    Granted,
    /// Whoever has a credential.
    Authenticated,
    /// Anybody, also without a credential.
    Anyone,
}

impl Namespaces {
    /// The settings that apply to `topic`.
    pub fn of(&self, topic: &Topic) -> &Namespace {
        self.named.get(topic.namespace()).unwrap_or(&self.default)
    }

    /// Whether there is anything that somebody without a credential may publish to.
    pub(crate) fn anyone_publishes(&self) -> bool {
        self.anyone(|namespace| namespace.publish)
    }

    /// Whether there is anything that somebody without a credential may receive.
    pub(crate) fn anyone_subscribes(&self) -> bool {
        self.anyone(|namespace| namespace.subscribe)
    }

    fn anyone(&self, policy: impl Fn(&Namespace) -> Policy) -> bool {
        std::iter::once(&self.default).chain(self.named.values()).any(|own| policy(own) == Policy::Anyone)
    }

    /// Whether `who` may receive `topic`.
    pub fn may_subscribe(&self, who: &Identity, topic: &Topic) -> bool {
        who.may_subscribe(topic) || self.of(topic).subscribe.admits(who, topic)
    }

    /// Whether `who` may publish to `topic`.
    pub fn may_publish(&self, who: &Identity, topic: &Topic) -> bool {
        who.may_publish(topic) || self.of(topic).publish.admits(who, topic)
    }
}

impl Policy {
    fn admits(self, who: &Identity, topic: &Topic) -> bool {
        !topic.is_reserved()
            && match self {
                Self::Granted => false,
                Self::Authenticated => who.is_authenticated(),
                Self::Anyone => true,
            }
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        let retention = Retention {
            size: 1_000,
            ttl: Duration::from_secs(3_600),
            record_ttl: Duration::from_secs(30 * 86_400),
            key_ttl: Duration::from_secs(600),
        };
        let default = Namespace { retention, subscribe: Policy::Granted, publish: Policy::Granted };
        Self { default, named: HashMap::new() }
    }
}
