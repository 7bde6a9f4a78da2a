//! What arrives, live and from history, is what was published.

use tidegate_protocol::{Data, EventName};

use super::Fixture;
use super::cluster::{Cluster, text, topic};
use crate::{Publication, Span};

/// Text and JSON, names, scripts, line ends, times.
pub async fn data_and_names_survive(fixture: &impl Fixture) {
    let said = [
        (None, r#""plain""#),
        (None, r#""""#),
        (Some("chat message"), r#"{"b": 1.0, "a": [12345678901234567890123, null, true]}"#),
        (Some("메시지"), r#""안녕 🌊 \u0000 \u001f e\u0301""#),
        (Some("j"), "7"),
        (None, r#""one\ntwo\r\nthree\rfour\n\n""#),
        (None, r#"" 1 k3x9a 1 0\nj 0 \n""#),
        (Some("x"), r#""\"quoted\" \\""#),
        (None, "null"),
    ];
    let publications = said.iter().zip(0..).map(|((name, json), n)| Publication {
        name: name.map(|name| EventName::parse(name).unwrap()),
        data: Data::from_json(json).unwrap(),
        at: 1_760_000_000_000 + n,
        ..text(&topic("모두:😀*?[a]{b}"), "")
    });
    survive(fixture, publications.collect()).await;
}

/// As large as an event may be by default, and then some.
pub async fn large_data_survives(fixture: &impl Fixture) {
    let publications = [1 << 16, (1 << 16) + 1, 1 << 18].map(|size: usize| Publication {
        data: Data::Text("🌊".repeat(size / 4).into()),
        ..text(&topic("large"), "")
    });
    survive(fixture, publications.into()).await;
}

async fn survive(fixture: &impl Fixture, publications: Vec<Publication>) {
    let topics = [publications[0].topic.clone()];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    for (n, publication) in publications.iter().enumerate() {
        cluster.publish(n, publication.clone()).await;
    }
    let mut views = cluster.settle(&topics).await;
    for node in 0..cluster.len() {
        let page = cluster.read(node, &topics[0], Span::Last { limit: 100 }).await;
        assert_eq!(page.events, views[node], "history and live are the same");
        views.push(page.events);
    }
    for events in views {
        assert_eq!(events.len(), publications.len());
        for (event, publication) in events.iter().zip(&publications) {
            assert_eq!(event.topic, publication.topic);
            assert_eq!(event.name, publication.name);
            assert_eq!(event.data, publication.data);
            assert_eq!(event.at, publication.at);
        }
    }
}
