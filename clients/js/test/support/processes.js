// Real servers for the tests, on free ports of this machine. Each is ended with the test that started it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../../..", import.meta.url));
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
export const binary = resolve(process.env.GATEWAY_BINARY ?? join(target, "debug/tidegate"));

/** The first of `count` ports in a row that nothing listens on. */
export async function freePorts(count) {
  for (;;) {
    const servers = [];
    try {
      const first = await listen(0, servers);
      for (let i = 1; i < count; i += 1) await listen(first + i, servers);
      return first;
    } catch (error) {
      if (error.code !== "EADDRINUSE" && error.code !== "ERR_SOCKET_BAD_PORT") throw error;
    } finally {
      await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
    }
  }
}

async function listen(port, servers) {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  return server.address().port;
}

export const freePort = () => freePorts(1);

// A gateway reads its settings there as well, and knows none of the tests' own.
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEGATE_")));

/** A process that ends with this one at the latest. */
export function start(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...inherited, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log = (log + text).slice(-200_000)));
  // Without a pid it never began, and a signal would go to this process and its group.
  const lives = () => child.pid && child.exitCode === null && child.signalCode === null;
  const gone = once(child, "exit").catch(() => {});
  const last = () => lives() && child.kill("SIGTERM");
  process.once("exit", last);
  gone.then(() => process.off("exit", last));
  return {
    /** True, or why not. */
    running: () => {
      if (lives()) return true;
      throw new Error(`${command} did not start, or ended:\n${log}`);
    },
    stop: async (signal) => {
      if (lives()) child.kill(signal);
      await gone;
    },
  };
}

/** What a command prints. */
export async function run(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...inherited, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (text) => (out += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${code}`);
  return out.trim();
}

/** Asks until the answer is true: for what other processes do. */
export async function until(condition, within = 10_000) {
  for (const deadline = Date.now() + within; ; ) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${condition}`);
    await new Promise((go) => setTimeout(go, 20));
  }
}

/** One for a test, which it ends with. */
async function startFor(t, command, args, env, ready) {
  const { running, stop } = start(command, args, env);
  t.after(() => stop("SIGKILL"));
  await until(() => running() && ready());
  return { stop: (signal = "SIGKILL") => stop(signal) };
}

/** A gateway. `env`: TIDEGATE_… settings. */
export async function gateway(t, { port, redis, env = {} } = {}) {
  port ??= await freePort();
  const admin = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--admin-listen", `127.0.0.1:${admin}`];
  if (redis) args.push("--redis", redis);
  const quick = { TIDEGATE_STREAM__RETRY: "100ms", TIDEGATE_DRAIN__DELAY: "0s", TIDEGATE_DRAIN__WINDOW: "0s" };
  const ready = () => fetch(`${url}/readyz`).then(({ ok }) => ok, () => false);
  const { stop } = await startFor(t, binary, args, { ...quick, ...env }, ready);
  const publish = async (topic, data, { event = "chat", key } = {}) => {
    const answer = await fetch(`${url}/v1/publish`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ topic, event, data }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.json()).id;
  };
  return { url, port, stop, publish };
}

export async function redis(t) {
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), "tidegate-redis."));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const args = ["--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"].map(String);
  const accepts = async () => {
    const { connect } = await import("node:net");
    const socket = connect(port, "127.0.0.1");
    const works = await Promise.race([once(socket, "connect"), once(socket, "error")]).then(() => !socket.errored, () => false);
    socket.destroy();
    return works;
  };
  await startFor(t, "redis-server", args, { PATH: `${process.env.PATH}:/usr/sbin` }, accepts);
  return `redis://127.0.0.1:${port}`;
}

export const API_KEY = "a-key-for-tests-long-enough";

/** Settings of a gateway that wants tokens. */
export const keyed = {
  TIDEGATE_CONFIG: fileURLToPath(new URL("keyed.toml", import.meta.url)),
};

/** A token as an application would make it. */
export async function token(user, { ttl = "1h", subscribe = "**" } = {}) {
  const args = ["token", "--user", user, "--subscribe", subscribe, "--ttl", ttl, "--config", keyed.TIDEGATE_CONFIG];
  return run(binary, args);
}
