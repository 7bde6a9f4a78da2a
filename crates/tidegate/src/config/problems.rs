//! What is wrong with a configuration: all of it, where it was written, and what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A command line flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Where each setting that is not a default came from, by its path (`auth.jwt.keys[0].alg`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// A later source wins; what an earlier one said inside of `path` is forgotten.
    pub(crate) fn set(&mut self, path: &str, origin: Origin) {
        self.0.retain(|known, _| known == path || !within(known, path));
        self.0.insert(path.to_owned(), origin);
    }

    /// The place to look at for `path`: its own, or that of the table or list around it, or of what stands in it.
    pub(crate) fn get(&self, path: &str) -> Option<&Origin> {
        let outer = outward(path).find_map(|path| self.0.get(path));
        outer.or_else(|| self.0.iter().find(|(known, _)| within(known, path)).map(|(_, origin)| origin))
    }

    /// Where the value of `path` was written; `None`: it is a default. A variable or flag gives a list or table as a whole.
    pub(crate) fn of_value(&self, path: &str) -> Option<&Origin> {
        self.0.get(path).or_else(|| {
            let whole = |origin: &&Origin| !matches!(origin, Origin::File(..));
            outward(path).find_map(|path| self.0.get(path).filter(whole))
        })
    }
}

/// `a.b[0].c`, `a.b[0]`, `a.b`, `a`.
fn outward(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().rev().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
    std::iter::once(path.len()).chain(ends).map(|end| &path[..end])
}

/// Whether `path` is `parent`, or lies inside of it.
fn within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    path: String,
    origin: Option<Origin>,
    what: String,
    advice: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), origin: None, what: what.into(), advice: None }
    }

    /// What to do about it, where the problem doesn't say so itself.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn at(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.path.as_str()) {
            (Some(origin), "") => write!(f, "{origin}: {}", self.what)?,
            (Some(origin), path) => write!(f, "{path} ({origin}): {}", self.what)?,
            (None, "") => f.write_str(&self.what)?,
            (None, path) => write!(f, "{path}: {}", self.what)?,
        }
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "\n   {advice}"))
    }
}

/// Everything that is wrong, in the order it was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is known to be wrong about `path` already: what follows from that is no news.
    pub(crate) fn touch(&self, path: &str) -> bool {
        self.0
            .iter()
            .any(|known| !known.path.is_empty() && (within(&known.path, path) || within(path, &known.path)))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.len() {
            1 => "the configuration can't be used:",
            _ => "the configuration can't be used, for these reasons:",
        })?;
        self.0.iter().enumerate().try_for_each(|(index, problem)| write!(f, "\n{}. {problem}", index + 1))
    }
}

impl std::error::Error for Problems {}
