//! What routes read from a request: its body, query, path, and who sent it.

pub(crate) mod body;
pub(crate) mod caller;
mod path;
mod query;

pub use body::Body;
pub use caller::Caller;
pub use path::Segment;
pub(crate) use path::TopicName;
pub(crate) use query::ParsedQuery;
pub use query::Query;
