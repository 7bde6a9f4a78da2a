//! The gateway's scripts in a real Lua 5.1. Values and errors cross between Lua and Redis as Redis'
//! own rules say: those of version 7.

use std::collections::HashMap;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::keyspace::text;
use super::resp::{Bytes, Reply};

/// A failing `redis.call` raises a table with the words in `err`. Lua's `pcall` gives the words
/// alone, and so does what reaches the end: a script can tell its own errors by their place only.
/// A table without `err` as an error would end a real server.
const RULES: &str = r#"
local command, pcall_, error_, type_ = ...
local function call(...)
  local reply = command(...)
  if type_(reply) == 'table' and reply.err then
    error_(reply, 0)
  end
  return reply
end
local function given(ok, first, ...)
  if not ok and type_(first) == 'table' and type_(first.err) == 'string' then
    first = first.err
  end
  return ok, first, ...
end
function pcall(...)
  return given(pcall_(...))
end
local function run(script)
  local ok, result = pcall_(script)
  if ok then
    return result
  elseif type_(result) == 'table' then
    return {err = type_(result.err) == 'string' and result.err or 'ERR a real server would end here'}
  end
  return {err = 'ERR ' .. tostring(result)}
end
return call, run
"#;

/// One interpreter and what it has compiled.
pub(super) struct Scripts {
    lua: Lua,
    /// [`RULES`], made of the function that runs a command.
    rules: Function,
    compiled: HashMap<Bytes, Function>,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let lua = Lua::new();
        let install = || -> mlua::Result<Function> {
            let redis = lua.create_table()?;
            redis.set("error_reply", lua.create_function(|lua, words| error_reply(lua, &words))?)?;
            let status = |lua: &Lua, words: mlua::String| {
                let table = lua.create_table()?;
                table.raw_set("ok", words)?;
                Ok(table)
            };
            redis.set("status_reply", lua.create_function(status)?)?;
            let globals = lua.globals();
            globals.set("redis", redis)?;
            let given: (Function, Function, Function) =
                (globals.get("pcall")?, globals.get("error")?, globals.get("type")?);
            let rules = lua.load(RULES).set_name("@rules").into_function()?;
            lua.load("local rules, a, b, c = ... return function(command) return rules(command, a, b, c) end")
                .call((rules, given.0, given.1, given.2))
        };
        let rules = install().expect("Lua takes a few functions");
        Self { lua, rules, compiled: HashMap::new() }
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
        let answer = self.function(code).and_then(|function| self.run(&function, keys, rest, call));
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

    fn run(
        &self,
        function: &Function,
        keys: &[Bytes],
        args: &[Bytes],
        call: &mut dyn FnMut(&[Bytes]) -> Reply,
    ) -> mlua::Result<Reply> {
        let lua = &self.lua;
        let strings = |items: &[Bytes]| -> mlua::Result<Table> {
            let items = items.iter().map(|item| lua.create_string(item)).collect::<mlua::Result<Vec<_>>>()?;
            lua.create_sequence_from(items)
        };
        lua.globals().raw_set("KEYS", strings(keys)?)?;
        lua.globals().raw_set("ARGV", strings(args)?)?;
        let redis: Table = lua.globals().raw_get("redis")?;
        let call = std::cell::RefCell::new(call);
        lua.scope(|scope| {
            let command = scope.create_function(move |lua, args: MultiValue| {
                let args = args.iter().map(|value| argument(lua, value)).collect::<mlua::Result<Vec<_>>>()?;
                let reply = match args.into_iter().collect::<Option<Vec<_>>>() {
                    Some(args) => (*call.borrow_mut())(&args),
                    None => Reply::error("ERR Lua redis lib command arguments must be strings or integers"),
                };
                to_lua(lua, reply)
            })?;
            let (raises, run): (Function, Function) = self.rules.call(command.clone())?;
            redis.raw_set("call", raises)?;
            redis.raw_set("pcall", command)?;
            from_lua(&run.call::<Value>(function)?)
        })
    }
}

/// Words without a code get one.
fn error_reply(lua: &Lua, words: &Value) -> mlua::Result<Table> {
    let words = match words {
        Value::String(words) => words.to_string_lossy(),
        _ => "wrong number or type of arguments".into(),
    };
    let words = words.strip_prefix('-').unwrap_or(&words);
    let coded = if words.contains(' ') && !words.starts_with("wrong number or") {
        words.into()
    } else {
        format!("ERR {words}")
    };
    let table = lua.create_table()?;
    table.raw_set("err", coded)?;
    Ok(table)
}

/// What is wrong with a script that does not even begin.
fn words(error: &mlua::Error) -> String {
    format!("ERR {}", error.to_string().lines().next().unwrap_or_default())
}

/// `None`: Redis takes no such argument.
fn argument(lua: &Lua, value: &Value) -> mlua::Result<Option<Bytes>> {
    Ok(match value {
        Value::String(string) => Some(string.as_bytes().to_vec()),
        Value::Integer(number) if number.abs() < 100_000_000_000_000_000 => {
            Some(number.to_string().into_bytes())
        }
        Value::Integer(_) | Value::Number(_) => {
            let format: Function = lua.load("return string.format('%.17g', ...)").into_function()?;
            Some(format.call::<mlua::String>(value)?.as_bytes().to_vec())
        }
        _ => None,
    })
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
        // As to clients of the second protocol.
        Reply::Map(pairs) => {
            let items = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
            to_lua(lua, Reply::Array(items))
        }
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
                return Ok(Reply::Error(words.to_string_lossy().replace(['\r', '\n'], " ")));
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
