// A clock and a network of the test's own.
import { setImmediate as settled } from "node:timers/promises";
import { connect } from "../../dist/index.js";

/** Every request is answered by `answer()`. `waits(n)`: the time before each of the first n requests, in steps of 10 ms. */
export function world(t, answer, options) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 1);
  const asked = [];
  t.mock.method(globalThis, "fetch", async (url) => {
    asked.push(Date.now());
    return answer(String(url), asked.length);
  });
  const stream = connect("http://gateway/v1/events", { topics: ["a"], ...options });
  const said = { states: [], problems: [] };
  stream.on("state", (state) => said.states.push(state));
  stream.on("error", (problem) => said.problems.push(problem));
  t.after(() => stream.close());
  const pass = async (milliseconds) => {
    for (let gone = 0; gone < milliseconds; gone += 10) {
      await settled();
      t.mock.timers.tick(10);
    }
    await settled();
  };
  const waits = async (count) => {
    for (let steps = 0; asked.length < count && steps < 100_000; steps++) await pass(10);
    return asked.map((at, n) => at - (asked[n - 1] ?? 0));
  };
  return { stream, said, waits, pass, asked };
}

/** A stream that says this and ends. */
export const says = (text) => new Response(text, { headers: { "Content-Type": "text/event-stream" } });

/** A stream that says this and stays. */
export const stays = (text) =>
  new Response(new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(text)) }), {
    headers: { "Content-Type": "text/event-stream" },
  });
