//! Connections that the gateway ends while it goes on itself.

use std::slice;
use std::time::Duration;

use reqwest::Method;
use tidegate_testkit::eventually;

use crate::client::{Ask, Client, End, Refused, Seen};
use crate::way::Way;
use crate::world::{World, manage, publish, somebody, token, unique};

over_every_transport!(a_backend_disconnects_a_user, a_token_expires, a_bad_token_is_refused);

async fn a_backend_disconnects_a_user(way: Way) {
    let world = World::shared().await;
    let (bases, user, topic) = (world.bases(way), somebody("bob"), unique("room"));
    let ask = Ask::as_user(&user, &[&topic]);
    let mut bobs = Vec::new();
    for base in &bases {
        bobs.push(Client::open(way, slice::from_ref(base), &ask).await);
    }
    let mut eve = Client::open(way, &bases, &Ask::new(&[&topic])).await;
    publish(&bases[0], &topic, 1).await;
    for bob in &mut bobs {
        assert_eq!(bob.data(1).await, ["1"]);
    }
    let url = world.plain[2].url(&format!("/v1/users/{user}/disconnect"));
    let told = manage(Method::POST, &url).await.body["nodes"].as_u64();
    if !way.polls() {
        assert_eq!(told, Some(bases.len() as u64), "each node that he is on");
        for bob in &mut bobs {
            bob.closed_for("disconnected").await;
        }
    }
    publish(&bases[1], &topic, 2).await;
    let cursor = bobs.remove(0).leave();
    let mut bob = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
    assert_eq!(bob.data(1).await, ["2"], "nobody keeps him away");
    assert_eq!(eve.data(2).await, ["1", "2"], "the others stay");
}

async fn a_token_expires(way: Way) {
    let world = World::shared().await;
    let (bases, topic) = (world.bases(way), unique("room"));
    let user = somebody("alice");
    // Cut to whole seconds: one to two from now.
    let ask = Ask { token: token(&user, Duration::from_secs(2)), ..Ask::as_user(&user, &[&topic]) };
    let mut client = Client::open(way, &bases, &ask).await;
    publish(&bases[0], &topic, 1).await;
    assert_eq!(client.data(1).await, ["1"]);
    let cursor = client.cursor().to_owned();
    if way.polls() {
        // The poll that waits is answered, and the next one refused.
        assert_eq!(client.next().await, Seen::End(End::Status(401)));
    } else {
        client.closed_for("token_expired").await;
    }
    assert_eq!(client.leave(), cursor, "the place stays");
    publish(&bases[0], &topic, 2).await;
    // The clock that cut the stream may be some milliseconds ahead of the one that judges.
    let refused = eventually("the token is refused", async || {
        Client::try_open(way, &bases[1..], &ask.after(&cursor)).await.err()
    });
    assert_eq!(refused.await, Refused::Status(401));
    let again = Ask { token: token(&user, Duration::from_secs(60)), ..ask };
    let mut client = Client::open(way, &bases, &again.after(&cursor)).await;
    assert_eq!(client.data(1).await, ["2"]);
}

async fn a_bad_token_is_refused(way: Way) {
    let world = World::shared().await;
    let bases = world.bases(way);
    let good = Ask::new(&[unique("room")]);
    for (token, status) in [("nonsense".to_owned(), 401), (format!("{}x", good.token), 401)] {
        let ask = Ask { token, ..good.clone() };
        assert_eq!(Client::try_open(way, &bases, &ask).await.err(), Some(Refused::Status(status)));
    }
    let bad = Ask { topics: vec!["white space".into()], ..good.clone() };
    assert_eq!(Client::try_open(way, &bases, &bad).await.err(), Some(Refused::Status(400)));
    let theirs = Ask { topics: vec!["user:somebody-else".into()], ..good };
    assert_eq!(Client::try_open(way, &bases, &theirs).await.err(), None, "the pattern ** has it");
}
