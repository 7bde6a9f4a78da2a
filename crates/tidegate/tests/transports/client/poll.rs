//! One long poll after the other.

use std::collections::VecDeque;

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_testkit::http;

use super::{Ask, Client, End, Event, Refused, Seen, Wire};

#[derive(Debug)]
pub(super) struct Poll {
    bases: Vec<String>,
    turn: usize,
    ask: Ask,
    /// What has come and was not looked at yet.
    waiting: VecDeque<Seen>,
    /// Where the last answer ends.
    end: String,
    over: bool,
}

#[derive(Deserialize)]
struct Answer {
    cursor: String,
    events: Vec<Box<RawValue>>,
    reset: bool,
}

impl Poll {
    pub(super) async fn open(bases: &[String], ask: &Ask) -> Result<Client, Refused> {
        let end = ask.cursor.clone().unwrap_or_default();
        let (bases, waiting) = (bases.to_vec(), VecDeque::new());
        let mut poll = Poll { bases, turn: 0, ask: ask.clone(), waiting, end, over: false };
        // With a cursor this would wait for an event.
        poll.ask(0).await?;
        let cursor =
            if poll.waiting.is_empty() { poll.end.clone() } else { ask.cursor.clone().unwrap_or_default() };
        Ok(Client { wire: Wire::Poll(poll), cursor, topics: None })
    }

    pub(super) async fn next(&mut self, cursor: &mut String) -> Seen {
        while self.waiting.is_empty() && !self.over {
            match self.ask(25).await {
                Ok(()) => {}
                Err(Refused::Status(status)) => {
                    self.over = true;
                    return Seen::End(End::Status(status));
                }
                Err(_) => self.over = true,
            }
            if self.waiting.is_empty() {
                self.end.clone_into(cursor);
            }
        }
        let Some(seen) = self.waiting.pop_front() else { return Seen::End(End::Cut) };
        match &seen {
            _ if self.waiting.is_empty() => self.end.clone_into(cursor),
            Seen::Event(Event { id: Some(id), .. }) => id.clone_into(cursor),
            _ => {}
        }
        seen
    }

    /// Asks once more, for a second at most. Nothing has come.
    pub(super) async fn beat(&mut self, cursor: &mut String) {
        self.ask(1).await.expect("an answer");
        assert!(self.waiting.is_empty(), "{:?}", self.waiting);
        self.end.clone_into(cursor);
    }

    async fn ask(&mut self, timeout: u32) -> Result<(), Refused> {
        let base = &self.bases[self.turn % self.bases.len()];
        let mut url = Url::parse(&format!("{base}/v1/poll")).unwrap();
        url.query_pairs_mut().extend_pairs(self.ask.topics.iter().map(|topic| ("topic", topic)));
        if self.end.is_empty() {
            let replay = self.ask.replay.iter().map(|count| ("replay", count.to_string()));
            url.query_pairs_mut().extend_pairs(replay);
        } else {
            url.query_pairs_mut()
                .append_pair("since", &self.end)
                .append_pair("timeout", &timeout.to_string());
        }
        self.turn += 1;
        let request = http::client().get(url).bearer_auth(&self.ask.token).timeout(2 * super::PATIENCE);
        let away = |e: reqwest::Error| Refused::Away(format!("{e:?}"));
        let response = request.send().await.map_err(away)?;
        if response.status() != StatusCode::OK {
            return Err(Refused::by_problem(response.status(), response.headers()));
        }
        let text = response.text().await.map_err(away)?;
        let answer: Answer = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        if answer.reset {
            self.waiting.push_back(Seen::Reset { topics: Vec::new(), reason: String::new() });
        }
        self.waiting.extend(answer.events.iter().map(|event| Seen::Event(Event::from_json(event.get()))));
        self.end = answer.cursor;
        Ok(())
    }
}
