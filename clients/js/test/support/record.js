// What a stream said, and a way to wait for it.
export function record(stream, name = "chat") {
  const seen = { data: [], ids: [], states: [], problems: [], resets: [], closings: [] };
  const waiting = new Set();
  const note = (list, ...values) => {
    list.push(...values);
    for (const check of waiting) check();
  };
  stream.on(name, (data, { id }) => {
    seen.ids.push(id);
    note(seen.data, data);
  });
  stream.on("state", (state) => note(seen.states, state));
  stream.on("error", (problem) => note(seen.problems, problem));
  stream.on("reset", (reset) => note(seen.resets, reset));
  stream.on("closing", (closing) => note(seen.closings, closing));
  /** Resolves once `condition(seen)` holds. */
  seen.until = (condition, within = 10_000) =>
    new Promise((resolve, reject) => {
      const done = (end, value) => {
        clearTimeout(timer);
        waiting.delete(check);
        end(value);
      };
      const late = new Error(`not within ${within} ms: ${condition}; ${JSON.stringify(seen)}`);
      const timer = setTimeout(() => done(reject, new Error(`${late.message} ${JSON.stringify(seen)}`, { cause: late })), within);
      const check = () => condition(seen) && done(resolve, seen);
      waiting.add(check);
      check();
    });
  return seen;
}
