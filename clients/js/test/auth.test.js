// Tokens: how they get to a gateway that wants them, and what becomes of those whose time is over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../dist/index.js";
import { API_KEY as key, gateway, keyed, token } from "./support/processes.js";
import { record } from "./support/record.js";

function opened(t, url, options) {
  const stream = connect(`${url}/v1/events`, { topics: ["room:1"], retry: { min: 20, max: 200 }, ...options });
  t.after(() => stream.close());
  return { stream, seen: record(stream) };
}

test("a token that has expired is followed by a new one, and nothing is missed between", async (t) => {
  const { url, publish } = await gateway(t, { env: keyed });
  let asked = 0;
  const fresh = () => token("alice", { ttl: asked++ ? "1h" : "1s" });
  const { seen } = opened(t, url, { token: fresh });
  await seen.until(({ states }) => states.at(-1) === "open");
  await publish("room:1", 1, { key });
  await seen.until(({ closings }) => closings.length === 1);
  await publish("room:1", 2, { key });
  await seen.until(({ data }) => data.length === 2);
  assert.deepEqual(seen.closings, [{ reason: "token_expired" }]);
  assert.deepEqual(seen.data, [1, 2]);
  assert.deepEqual(seen.states, ["open", "connecting", "open"]);
  assert.deepEqual(seen.problems, []);
  assert.equal(asked, 2);
});

test("a token that is refused is asked for again", async (t) => {
  const { url } = await gateway(t, { env: keyed });
  const tokens = ["not a token", await token("alice")];
  const { seen, stream } = opened(t, url, { token: async () => tokens.shift() });
  await seen.until(({ states }) => states.at(-1) === "open");
  assert.deepEqual(seen.problems.map(({ status, type }) => [status, type]), [[401, "urn:tidegate:problem:unauthenticated"]]);
  stream.cut();
  await seen.until(({ states }) => states.at(-2) === "connecting" && states.at(-1) === "open");
  assert.equal(tokens.length, 0);
});

test("without anybody to ask, a refusal is the end", async (t) => {
  const { url } = await gateway(t, { env: keyed });
  const cases = [
    [{ token: "not a token" }, 401],
    [{}, 401],
    [{ token: await token("alice", { subscribe: "other:*" }) }, 403],
    [{ topics: ["a b"], token: await token("alice") }, 400],
    [{ topics: ["a b"], token: await token("alice"), transport: "poll" }, 400],
  ];
  for (const [options, status] of cases) {
    const { seen, stream } = opened(t, url, options);
    await seen.until(({ problems }) => problems.length > 0);
    assert.equal(stream.state, "closed");
    assert.equal(seen.problems[0].status, status);
    assert.match(seen.problems[0].type, /^urn:tidegate:problem:/);
    assert.ok(seen.problems[0].detail);
  }
});

test("nobody can give a token just now", async (t) => {
  const { url } = await gateway(t, { env: keyed });
  let asked = 0;
  const { seen } = opened(t, url, {
    token: () => {
      if (!asked++) throw new Error("the login is down");
      return token("alice");
    },
  });
  await seen.until(({ states }) => states.at(-1) === "open");
  assert.match(seen.problems[0].detail, /the login is down/);
});

test("polls carry the token, too", async (t) => {
  const { url, publish } = await gateway(t, { env: keyed });
  const { seen } = opened(t, url, { token: () => token("alice"), transport: "poll" });
  await seen.until(({ states }) => states.at(-1) === "open");
  await publish("room:1", 1, { key });
  await seen.until(({ data }) => data.length === 1);
});
