//! How the scripts' answers are read.

use ::redis::{Value, from_redis_value};
use tidegate_protocol::{Epoch, Position};

use crate::model::{Message, Room, UserProfile, View};
use crate::store::{Created, Error, Noted, Reader};

/// An answer of a shape that no script of this version gives.
pub(super) fn unexpected(what: &str) -> Error {
    Error::Unavailable(format!("Redis answered something else than {what}"))
}

pub(super) fn number(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected("a number")),
    }
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, Error> {
    from_redis_value(value).map_err(|_| unexpected("a list of texts"))
}

pub(super) fn created(value: Value) -> Result<Created, Error> {
    match <[String; 2]>::try_from(texts(value)?) {
        Ok([word, room]) if word == "new" => Ok(Created { room, new: true }),
        Ok([word, room]) if word == "there" => Ok(Created { room, new: false }),
        Ok([word, user]) if word == "full" => Err(Error::UserFull(user)),
        Ok([word, user]) if word == "made" => Err(Error::MakerFull(user)),
        Ok([word, _]) if word == "rooms" => Err(Error::RoomsFull),
        _ => Err(unexpected("what became of a room")),
    }
}

/// `{name, direct, relation, created, by, last message, unread, participants}`
pub(super) fn view(id: &str, value: Value) -> Result<Option<View>, Error> {
    let Some([name, direct, relation, created, by, last, unread, people]) = parts::<8>(value)? else {
        return Ok(None);
    };
    let room = Room {
        id: id.into(),
        name: text(name)?,
        participants: texts(people)?,
        created_at: text(created)?,
        created_by: optional(by)?,
        direct: text(direct)? == "1",
        relation_type: text(relation)?,
    };
    let last_message: Option<Message> = optional(last)?
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_| unexpected("a message"))?;
    let unread_count = u64::try_from(number(&unread)?).unwrap_or_default();
    Ok(Some(View { room, last_message, unread_count }))
}

/// `{name, direct, relation, 1 if the sender had something unread, readers}`
pub(super) fn noted(value: Value) -> Result<Option<Noted>, Error> {
    let Some([name, direct, relation, caught_up, people]) = parts::<5>(value)? else { return Ok(None) };
    Ok(Some(Noted {
        name: text(name)?,
        direct: text(direct)? == "1",
        relation_type: text(relation)?,
        readers: readers(people)?,
        caught_up: number(&caught_up)? > 0,
    }))
}

/// `{user, 1 if something is unread, …}`
pub(super) fn readers(value: Value) -> Result<Vec<Reader>, Error> {
    let Value::Array(items) = value else { return Err(unexpected("a list of readers")) };
    let mut items = items.into_iter();
    let mut readers = Vec::with_capacity(items.len() / 2);
    while let (Some(user), Some(unread)) = (items.next(), items.next()) {
        readers.push(Reader { user: text(user)?, unread: number(&unread)? > 0 });
    }
    Ok(readers)
}

/// `{epoch, offset}`
pub(super) fn place(value: Value) -> Result<Option<Position>, Error> {
    let Some([epoch, offset]) = parts::<2>(value)? else { return Ok(None) };
    let epoch = Epoch::parse(text(epoch)?.as_bytes()).ok_or_else(|| unexpected("an epoch"))?;
    let offset = u64::try_from(number(&offset)?).map_err(|_| unexpected("an offset"))?;
    Ok(Some(Position { epoch, offset }))
}

/// A hash: id to what is known.
pub(super) fn users(value: Value) -> Result<Vec<UserProfile>, Error> {
    let known: Vec<(String, String)> = from_redis_value(value).map_err(|_| unexpected("users"))?;
    let mut users: Vec<_> = known.into_iter().map(|(id, json)| profile(&id, Some(&json))).collect();
    users.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(users)
}

/// What is known of each of `ids`.
pub(super) fn profiles(ids: &[String], value: Value) -> Result<Vec<UserProfile>, Error> {
    let known: Vec<Option<String>> = from_redis_value(value).map_err(|_| unexpected("profiles"))?;
    Ok(ids.iter().zip(known).map(|(id, json)| profile(id, json.as_deref())).collect())
}

fn profile(id: &str, json: Option<&str>) -> UserProfile {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_else(|| UserProfile::bare(id))
}

fn parts<const N: usize>(value: Value) -> Result<Option<[Value; N]>, Error> {
    match value {
        Value::Nil => Ok(None),
        Value::Array(parts) => parts.try_into().map(Some).map_err(|_| unexpected("so many parts")),
        _ => Err(unexpected("a list")),
    }
}

fn text(value: Value) -> Result<String, Error> {
    from_redis_value(value).map_err(|_| unexpected("a text"))
}

fn optional(value: Value) -> Result<Option<String>, Error> {
    from_redis_value(value).map_err(|_| unexpected("a text or nothing"))
}
