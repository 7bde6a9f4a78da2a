use std::sync::Arc;
use std::time::SystemTime;

use tidegate_protocol::{Pattern, Topic};

const ANONYMOUS: &str = "anonymous";

/// Who is calling, and what they may do.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user, whose own topic is `user:{user}`. A backend's credential may have none.
    pub user: Option<Arc<str>>,
    /// Which topics may be read and written.
    pub grants: Grants,
    /// Whether memberships, histories and connections of others may be managed.
    pub admin: bool,
    /// From here on the credential is refused, leeway included. A stream opened with it ends here.
    pub expires_at: Option<SystemTime>,
    /// The caller, wherever callers are told apart: idempotency keys, publish rates, logs. No two
    /// callers share one.
    ///
    /// `user:alice`, `key:backend`, `open`, `anonymous`. A token without `sub` is `token:DIGEST`,
    /// over the key that signed it, its `iss`, and its `client_id` (else `azp`). Contains no
    /// control characters.
    pub label: Arc<str>,
}

/// Patterns over topics, by what they allow.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Topics that may be subscribed to and whose history may be read.
    pub subscribe: Arc<[Pattern]>,
    /// Topics that may be published to.
    pub publish: Arc<[Pattern]>,
    /// Both, everywhere: an open gateway asks nobody.
    pub(crate) everything: bool,
}

impl Identity {
    /// Anybody at an open gateway: everything is allowed. `user` must make a valid `user:{id}` topic.
    pub fn open(user: Option<Arc<str>>) -> Self {
        let label = user.as_deref().map_or_else(|| "open".into(), user_label);
        let grants = Grants { everything: true, ..Grants::default() };
        Self { user, grants, admin: true, expires_at: None, label }
    }

    /// Nobody in particular: nothing is granted, and only what a namespace opens to anyone is left.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            grants: Grants::default(),
            admin: false,
            expires_at: None,
            label: ANONYMOUS.into(),
        }
    }

    /// Whether a credential stands behind this identity.
    pub fn is_authenticated(&self) -> bool {
        self.grants.everything || &*self.label != ANONYMOUS
    }

    /// Own topic, or granted. Never a topic of the gateway's (`$…`).
    pub fn may_subscribe(&self, topic: &Topic) -> bool {
        if topic.is_reserved() {
            return false;
        }
        let own = self.user.is_some() && topic.owner() == self.user.as_deref();
        own || self.grants.everything || covered(&self.grants.subscribe, topic)
    }

    /// Granted. Never a topic of the gateway's (`$…`).
    pub fn may_publish(&self, topic: &Topic) -> bool {
        !topic.is_reserved() && (self.grants.everything || covered(&self.grants.publish, topic))
    }
}

impl Grants {
    /// Grants over these patterns.
    pub fn new(subscribe: Vec<Pattern>, publish: Vec<Pattern>) -> Self {
        Self { subscribe: subscribe.into(), publish: publish.into(), everything: false }
    }
}

pub(crate) fn user_label(user: &str) -> Arc<str> {
    format!("user:{user}").into()
}

fn covered(patterns: &[Pattern], topic: &Topic) -> bool {
    patterns.iter().any(|pattern| pattern.matches(topic.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    fn alice() -> Identity {
        let pattern = |p| Pattern::parse(p).unwrap();
        Identity {
            user: Some("alice".into()),
            grants: Grants::new(vec![pattern("room:*")], vec![pattern("room:1")]),
            ..Identity::anonymous()
        }
    }

    #[test]
    fn a_user_reads_their_own_topic_without_a_grant() {
        assert!(alice().may_subscribe(&topic("user:alice")));
        assert!(!alice().may_publish(&topic("user:alice")));
        assert!(!alice().may_subscribe(&topic("user:bob")));
        assert!(!alice().may_subscribe(&topic("user:alice:secrets")));
    }

    /// What a token says of its user is a name and never a pattern.
    #[test]
    fn a_sub_grants_exactly_the_own_topic() {
        let all = ["user:*", "user:**", "user:a", "user:a:*", "user:a:**", "user:a:b", "user:a:b:c", "user"];
        for sub in ["*", "**", "a", "a:*", "a:**", "a:b", ":", "user:a"] {
            let me = Identity { user: Some(sub.into()), ..Identity::anonymous() };
            let own = format!("user:{sub}");
            assert!(me.may_subscribe(&topic(&own)) && !me.may_publish(&topic(&own)), "{sub}");
            for other in all.iter().filter(|other| **other != own) {
                assert!(!me.may_subscribe(&topic(other)) && !me.may_publish(&topic(other)), "{sub}: {other}");
            }
        }
    }

    #[test]
    fn grants_cover_what_they_match() {
        assert!(alice().may_subscribe(&topic("room:7")) && !alice().may_publish(&topic("room:7")));
        assert!(alice().may_publish(&topic("room:1")));
        assert!(!Identity::anonymous().may_subscribe(&topic("room:7")));
    }

    #[test]
    fn nobody_touches_the_gateways_topics() {
        let everybody = Identity::open(None);
        assert!(everybody.may_subscribe(&topic("news")) && everybody.may_publish(&topic("news")));
        assert!(!everybody.may_subscribe(&topic("$probe")) && !everybody.may_publish(&topic("$probe")));
    }
}
