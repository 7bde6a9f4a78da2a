//! Who takes part, and who is who.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use tidegate_server::{Caller, Problem};

use super::{Chat, Sent, no_room, whole};
use crate::model::{MessageType, UserProfile, View};
use crate::notify::Notices;
use crate::topics;

/// The longest URL of a picture.
const IMAGE: usize = 2_048;

/// What a user says about themselves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ProfileWish {
    nickname: Option<String>,
    profile_image: Option<String>,
}

impl Chat {
    /// Adds a participant, at the wish of another. Again: mends what may be missing, and says nothing.
    pub(crate) async fn add(
        self: &Arc<Self>,
        caller: &Caller,
        room: &str,
        user: &str,
    ) -> Result<View, Problem> {
        topics::user("userId", user)?;
        let by = self.admit(caller, room).await?;
        // All participants, the new one among them, are told.
        self.app.allow_fan_out(&caller.identity, by.participants + 1)?;
        let seen_by = by.user.map(ToOwned::to_owned);
        let (chat, room, user) = (Arc::clone(self), room.to_owned(), user.to_owned());
        whole(async move {
            let view = chat.view(&room, None).await?;
            if !view.room.participants.contains(&user) {
                chat.group(&room).await?;
            }
            let added = chat.store.add(&room, &user).await.map_err(|error| chat.refused(error))?;
            let new = added.ok_or_else(no_room)?;
            if let Err(problem) = chat.settle(&room, &topics::room(&room)?, &user).await {
                if new && problem.status() == StatusCode::CONFLICT {
                    chat.store.remove(&room, &user).await?;
                }
                return Err(problem);
            }
            if new {
                chat.tell(&room, &user, MessageType::Join, "joined").await?;
            }
            chat.view(&room, seen_by.as_deref()).await
        })
        .await
    }

    /// Removes a participant: oneself, or whom the room's creator or an administrator names.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        caller: &Caller,
        room: &str,
        user: &str,
    ) -> Result<(), Problem> {
        topics::user("userId", user)?;
        let by = self.admit(caller, room).await?;
        let view = self.group(room).await?;
        let own = by.user.is_some_and(|by| by == user || view.room.created_by.as_deref() == Some(by));
        if !own && !caller.is_admin() {
            let detail = "Others can be removed by who made the room.";
            return Err(Problem::forbidden(Some("userId"), detail));
        }
        self.app.allow_fan_out(&caller.identity, by.participants)?;
        let (chat, room, user) = (Arc::clone(self), room.to_owned(), user.to_owned());
        whole(async move { chat.take_out(&room, &user).await }).await
    }

    async fn take_out(&self, room: &str, user: &str) -> Result<(), Problem> {
        let changed = self.store.remove(room, user).await?.ok_or_else(no_room)?;
        // Also when nothing changed: somebody may have died in the midst of it.
        self.settle(room, &topics::room(room)?, user).await?;
        if !changed {
            return Ok(());
        }
        let mut notices = Notices::new(&self.options, None);
        notices.removed(user, room);
        if !self.store.unread(user).await? {
            notices.all_read(user);
        }
        notices.send(self.broker()).await;
        if self.view(room, None).await?.room.participants.is_empty() {
            return self.close(room).await;
        }
        self.tell(room, user, MessageType::Leave, "left").await
    }

    /// Says in the room who came or went.
    async fn tell(&self, room: &str, user: &str, kind: MessageType, what: &str) -> Result<(), Problem> {
        let profiles = self.store.profiles(&[user.to_owned()]).await?;
        let nickname = profiles.first().map_or(user, |profile| &profile.nickname);
        self.deliver(Sent::word(room, user, kind, format!("{nickname} {what}"))).await.map(drop)
    }

    /// Every user there is to choose from.
    pub(crate) async fn users(&self, caller: &Caller) -> Result<Vec<UserProfile>, Problem> {
        if !caller.is_admin() || caller.identity.user.is_some() {
            self.meet(caller).await?;
        }
        Ok(self.store.users().await?)
    }

    /// Says who a user is: oneself, or whom an administrator names. What is left out stays.
    pub(crate) async fn set_profile(
        &self,
        caller: &Caller,
        user: &str,
        wish: ProfileWish,
    ) -> Result<UserProfile, Problem> {
        topics::user("userId", user)?;
        if !caller.is_admin() && caller.user()? != user {
            return Err(Problem::forbidden(Some("userId"), "This profile is somebody else's."));
        }
        let known = self.store.profiles(&[user.to_owned()]).await?.into_iter().next();
        let mut profile = known.unwrap_or_else(|| UserProfile::bare(user));
        if let Some(nickname) = wish.nickname {
            self.check_name("nickname", &nickname)?;
            profile.nickname = nickname;
        }
        if let Some(image) = wish.profile_image {
            if image.len() > IMAGE || image.chars().any(char::is_control) || !is_picture(&image) {
                let detail = format!(
                    "A picture is a URL of http or https, or a path on this host: at most {IMAGE} bytes and no control characters."
                );
                return Err(Problem::invalid("profileImage", detail));
            }
            profile.profile_image = Some(image).filter(|image| !image.is_empty());
        }
        self.store.set_profile(&profile).await.map_err(|error| self.refused(error))?;
        Ok(profile)
    }
}

/// Whoever shows it may put it where a script would run: only what is surely a picture's address goes on. Empty: none.
fn is_picture(url: &str) -> bool {
    let own = url.starts_with('/') && !url.starts_with("//");
    url.is_empty() || own || ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme))
}
