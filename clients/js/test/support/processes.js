// Real servers for the tests, on free ports of this machine. Each is ended with the test that started it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../..", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
export const binary = process.env.GATEWAY_BINARY ?? join(target, "debug", "tidegate");

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

// A gateway reads its settings there as well, and knows none of the tests' own.
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEGATE_")));

async function start(t, command, args, env, ready) {
  const child = spawn(command, args, { env: { ...inherited, ...env }, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (text) => {
    log += text;
  });
  const exited = once(child, "exit");
  exited.catch(() => {});
  const stop = async (signal = "SIGKILL") => {
    // Without a pid it never began, and the signal would go to this process and its group.
    if (child.pid && child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited.catch(() => {});
  };
  t.after(() => stop());
  await until(async () => {
    if (!child.pid || child.exitCode !== null) throw new Error(`${command} did not start, or ended:\n${log}`);
    return await ready();
  });
  return { stop, log: () => log };
}

/** Asks until it is true: for what other processes do. */
export async function until(condition, within = 10_000) {
  const deadline = Date.now() + within;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${condition}`);
    await new Promise((go) => setTimeout(go, 20));
  }
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
  const { stop } = await start(t, binary, args, { ...quick, ...env }, ready);
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
  await start(t, "redis-server", args, { PATH: `${process.env.PATH}:/usr/sbin` }, accepts);
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
  const child = spawn(binary, args, { env: inherited, stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  await once(child, "exit");
  return out.trim();
}
