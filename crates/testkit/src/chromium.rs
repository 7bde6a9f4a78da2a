//! A real browser.

use std::fs;
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidegate_children::{Home, Process};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::wait::within;

/// A browser takes its time, and more of it on a machine that compiles meanwhile.
const PATIENCE: Duration = Duration::from_secs(45);

/// A headless Chromium with a profile of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Chromium {
    process: Process,
    home: Home,
}

impl Chromium {
    /// Starts it. `trusted`: hashes of the public keys (SHA-256, base64) whose certificates it takes; `quic_only`: the host and port with which it
    /// speaks nothing but HTTP/3.
    pub async fn start(trusted: &str, quic_only: Option<&str>) -> Chromium {
        let home = Home::new("chromium").unwrap();
        let mut command = Command::new("chromium");
        command
            .args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            // The tests run as root in containers, and visit nobody but themselves.
            .args(["--no-sandbox", "--no-proxy-server", "--disable-background-networking"])
            // It would ask ::1 first, and over QUIC nobody else then.
            .arg("--host-resolver-rules=MAP localhost 127.0.0.1")
            .args(["--remote-debugging-port=0", "--remote-allow-origins=*"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg(format!("--ignore-certificate-errors-spki-list={trusted}"))
            .args(quic_only.map(|origin| format!("--origin-to-force-quic-on={origin}")))
            .arg("about:blank");
        let process = home.start("chromium", command, "apt-get install chromium").unwrap();
        Chromium { process, home }
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&self, url: &str) -> Page {
        let list = within(PATIENCE, async || {
            let text = fs::read_to_string(self.home.path().join("DevToolsActivePort")).ok()?;
            let port = text.lines().next()?.to_owned();
            let url = format!("http://127.0.0.1:{port}/json/list");
            let pages = crate::http::try_send(reqwest::Method::GET, &url, None, None).await.ok()?.body;
            let page = pages.as_array()?.iter().find(|page| page["type"] == "page")?.clone();
            Some((port, page["webSocketDebuggerUrl"].as_str()?.to_owned()))
        });
        let Some((port, address)) = list.await else {
            panic!("chromium has no page within {PATIENCE:?}\n{}", self.process.tail());
        };
        let socket = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("chromium");
        let (socket, _) = tokio_tungstenite::client_async(address, socket).await.expect("a WebSocket");
        let mut page = Page { socket, calls: 0 };
        let went = page.call("Page.navigate", &json!({"url": url})).await;
        assert_eq!(went.get("errorText"), None, "{url}\n{}", self.process.tail());
        page.run("document.readyState == 'complete' || new Promise(done => onload = done)").await;
        page
    }
}

/// A page in the browser.
#[derive(Debug)]
pub struct Page {
    socket: WebSocketStream<TcpStream>,
    calls: u64,
}

impl Page {
    /// Evaluates an expression, waits for it if it is a promise, and gives its value. Panics with what it throws.
    pub async fn run(&mut self, expression: &str) -> Value {
        let how = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &how).await;
        assert_eq!(result.get("exceptionDetails"), None, "{expression}");
        result["result"]["value"].clone()
    }

    async fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let call = json!({"id": id, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(call)).await.expect("chromium listens");
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("chromium lives").expect("a message");
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["id"] == id {
                    assert_eq!(value.get("error"), None, "{method} {parameters}");
                    return value["result"].clone();
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?}: {method} {parameters}"))
    }
}
