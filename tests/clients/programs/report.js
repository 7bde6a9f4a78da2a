// One JSON object a line: what the tests read.
export const report = (said) => console.log(JSON.stringify(said));

export function follow(source) {
  source.addEventListener("tidegate:ready", () => report({ open: true }));
  source.addEventListener("tidegate:reset", ({ data }) => report({ reset: data }));
  source.addEventListener("chat", ({ data, lastEventId }) => report({ id: lastEventId, data: JSON.parse(data) }));
}
