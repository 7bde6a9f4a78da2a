//! The command line.

pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod output;
pub(crate) mod publish;
pub(crate) mod subscribe;
pub(crate) mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// A one-way gate for events: POST an event to any node, and every stream of every node has it.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway (also without any command)
    Serve(Serve),
    /// Make a token, for development and tests
    Token(token::Token),
    /// Publish an event
    Publish(publish::Publish),
    /// Print events; reconnects and resumes for ever
    Subscribe(subscribe::Subscribe),
    /// Show or check the configuration
    Config(config::Config),
    /// Ask a gateway whether it is ready: exit code 0 or 1
    Health(health::Health),
    /// Find out what proxies between here and a gateway do to its streams, and what to change: exit code 0 or 1
    Doctor(doctor::Doctor),
}

impl Cli {
    /// What to do. Serving needs no word.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// Settings that have flags. They win over the environment and the file.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Serve {
    /// Where clients and publishers come in [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where operators come in: metrics and health [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// The Redis that joins the nodes of a cluster, redis:// or rediss:// [default: none, one node]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Speak TLS with a certificate for localhost that is made now, for development
    #[arg(long)]
    dev_tls: bool,
    /// Lets a background task panic once all run: for tests of what becomes of the process
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "TASK", hide = true)]
    pub(crate) kill_task: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    /// Configuration file (TOML); see `tidegate config default`
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl Serve {
    /// What the configuration is read from.
    pub(crate) fn sources(&self) -> Sources {
        let flags = [
            ("listen", "--listen", &self.listen),
            ("admin_listen", "--admin-listen", &self.admin_listen),
            ("redis.url", "--redis", &self.redis),
            ("tls.dev", "--dev-tls", &self.dev_tls.then(|| "true".to_owned())),
        ];
        let given = |(setting, flag, value): (_, _, &Option<String>)| Some((setting, flag, value.clone()?));
        Sources { flags: flags.into_iter().filter_map(given).collect(), ..self.file.sources() }
    }
}

impl ConfigFile {
    /// The file and the environment. An empty variable names no file.
    pub(crate) fn sources(&self) -> Sources {
        let file = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        Sources { file, environment: Sources::process_environment(), flags: Vec::new() }
    }
}

/// The gateway that a client command talks to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Gateway {
    /// The gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: reqwest::Url,
    /// A token or API key
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

impl Gateway {
    /// The URL of an endpoint, whatever the base ends with.
    pub(crate) fn endpoint(&self, path: &str) -> reqwest::Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Adds the credential.
    pub(crate) fn authorize(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().command()
    }

    #[test]
    fn the_commands_are_consistent() {
        <Cli as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_word() {
        for line in ["tidegate --listen 127.0.0.1:1", "tidegate serve --listen 127.0.0.1:1"] {
            let Command::Serve(serve) = parse(line) else { panic!("{line}") };
            assert_eq!(serve.sources().flags, [("listen", "--listen", "127.0.0.1:1".to_owned())]);
        }
        let Command::Serve(serve) = parse("tidegate --dev-tls") else { panic!() };
        assert_eq!(serve.sources().flags, [("tls.dev", "--dev-tls", "true".to_owned())]);
        assert!(matches!(parse("tidegate"), Command::Serve(_)));
    }

    #[test]
    fn topics_repeat() {
        let Command::Subscribe(args) = parse("tidegate subscribe --topic a --topic b --replay 3") else {
            panic!()
        };
        assert_eq!(args.topics, ["a", "b"]);
        assert!(Cli::try_parse_from(["tidegate", "publish", "no topic"]).is_err());
    }

    #[test]
    fn endpoints_keep_a_prefix() {
        let gateway = |url: &str| Gateway { url: url.parse().unwrap(), token: None };
        assert_eq!(gateway("http://h").endpoint("/v1/poll").as_str(), "http://h/v1/poll");
        assert_eq!(gateway("http://h/live/").endpoint("/v1/poll").as_str(), "http://h/live/v1/poll");
    }
}
