//! The gateway's scripts in a real Lua 5.1. Values cross between Lua and Redis as Redis' own rules
//! say.

use std::collections::HashMap;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::keyspace::text;
use super::resp::{Bytes, Reply};

/// One interpreter and what it has compiled.
pub(super) struct Scripts {
    lua: Lua,
    compiled: HashMap<Bytes, Function>,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let lua = Lua::new();
        let install = || -> mlua::Result<()> {
            let redis = lua.create_table()?;
            let reply = |field: &'static str| {
                lua.create_function(move |lua, words: mlua::String| {
                    let table = lua.create_table()?;
                    table.raw_set(field, words)?;
                    Ok(table)
                })
            };
            redis.set("error_reply", reply("err")?)?;
            redis.set("status_reply", reply("ok")?)?;
            lua.globals().set("redis", redis)
        };
        install().expect("Lua takes two functions");
        Self { lua, compiled: HashMap::new() }
    }

    /// Runs a script in one go. `args`: as behind `EVAL code`; `call` runs its commands.
    pub(super) fn eval(
        &mut self,
        code: &[u8],
        args: &[Bytes],
        call: &mut dyn FnMut(&[Bytes]) -> Reply,
    ) -> Reply {
        let keys = args.first().and_then(|count| text(count).parse::<usize>().ok());
        let Some(keys) = keys else {
            return Reply::error("ERR value is not an integer or out of range");
        };
        if keys + 1 > args.len() {
            return Reply::error("ERR Number of keys can't be greater than number of args");
        }
        let (keys, rest) = args[1..].split_at(keys);
        let answer = self.function(code).and_then(|function| run(&self.lua, &function, keys, rest, call));
        answer.unwrap_or_else(|error| Reply::Error(words(&error)))
    }

    fn function(&mut self, code: &[u8]) -> mlua::Result<Function> {
        if let Some(function) = self.compiled.get(code) {
            return Ok(function.clone());
        }
        let function = self.lua.load(code).set_name("@user_script").into_function()?;
        self.compiled.insert(code.to_vec(), function.clone());
        Ok(function)
    }
}

fn run(
    lua: &Lua,
    function: &Function,
    keys: &[Bytes],
    args: &[Bytes],
    call: &mut dyn FnMut(&[Bytes]) -> Reply,
) -> mlua::Result<Reply> {
    let strings = |items: &[Bytes]| -> mlua::Result<Table> {
        let items = items.iter().map(|item| lua.create_string(item)).collect::<mlua::Result<Vec<_>>>()?;
        lua.create_sequence_from(items)
    };
    lua.globals().raw_set("KEYS", strings(keys)?)?;
    lua.globals().raw_set("ARGV", strings(args)?)?;
    let redis: Table = lua.globals().raw_get("redis")?;
    let call = std::cell::RefCell::new(call);
    lua.scope(|scope| {
        let command = |args: MultiValue| -> mlua::Result<Reply> {
            let args = args.iter().map(argument).collect::<mlua::Result<Vec<_>>>()?;
            Ok((*call.borrow_mut())(&args))
        };
        let raises = scope.create_function(move |lua, args: MultiValue| match command(args)? {
            Reply::Error(words) => Err(mlua::Error::runtime(words)),
            reply => to_lua(lua, reply),
        })?;
        let gives = scope.create_function(move |lua, args: MultiValue| to_lua(lua, command(args)?))?;
        redis.raw_set("call", raises)?;
        redis.raw_set("pcall", gives)?;
        from_lua(&function.call::<Value>(())?)
    })
}

/// Redis' own error where a command failed, and Lua's where the script did.
fn words(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => words(cause),
        mlua::Error::RuntimeError(words) => {
            let first = words.lines().next().unwrap_or_default();
            let code = first.split(' ').next().unwrap_or_default();
            let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
            if is_code { first.into() } else { format!("ERR {first}") }
        }
        other => format!("ERR {}", other.to_string().lines().next().unwrap_or_default()),
    }
}

fn argument(value: &Value) -> mlua::Result<Bytes> {
    match value {
        Value::String(string) => Ok(string.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        _ => Err(mlua::Error::runtime("ERR Lua redis lib command arguments must be strings or integers")),
    }
}

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    let field = |name: &str, words: &str| {
        let table = lua.create_table()?;
        table.raw_set(name, words)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Nil => Ok(Value::Boolean(false)),
        Reply::Int(number) => Ok(Value::Number(number as f64)),
        Reply::Bulk(bytes) => Ok(Value::String(lua.create_string(&bytes)?)),
        Reply::Simple(words) => field("ok", &words),
        Reply::Error(words) => field("err", &words),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            let items = items.into_iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<Vec<_>>>()?;
            Ok(Value::Table(lua.create_sequence_from(items)?))
        }
        Reply::Map(_) => Err(mlua::Error::runtime("ERR maps are not modelled in scripts")),
    }
}

fn from_lua(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::Nil | Value::Boolean(false) => Reply::Nil,
        Value::Boolean(true) => Reply::Int(1),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(*number as i64),
        Value::String(string) => Reply::Bulk(string.as_bytes().to_vec()),
        Value::Table(table) => {
            if let Some(words) = table.raw_get::<Option<mlua::String>>("err")? {
                return Ok(Reply::Error(words.to_string_lossy()));
            }
            if let Some(words) = table.raw_get::<Option<mlua::String>>("ok")? {
                return Ok(Reply::Simple(words.to_string_lossy().into()));
            }
            let mut items = Vec::new();
            loop {
                match table.raw_get::<Value>(items.len() + 1)? {
                    Value::Nil => break,
                    item => items.push(from_lua(&item)?),
                }
            }
            Reply::Array(items)
        }
        other => return Err(mlua::Error::runtime(format!("a script gave a {}", other.type_name()))),
    })
}
