// What an application with React looks like, twice mounted by StrictMode.
import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useEvent, useStream, useStreamState } from "../../dist/react.js";

window.heard = [];
window.handlers = 0;

function Room({ url, topics }) {
  const stream = useStream(url, { topics, retry: { min: 20 }, token: undefined, replay: 2 });
  const state = useStreamState(stream);
  const [count, setCount] = useState(0);
  window.roomStream = stream;
  useEvent(stream, "chat", (data) => {
    // A stale closure would see an old count.
    window.heard.push([data, count]);
    setCount((count) => count + 1);
  });
  return h("p", { id: "room" }, `${state} ${count}`);
}

function App() {
  const [props, set] = useState(undefined);
  window.show = set;
  return props ? h(Room, props) : h("p", { id: "none" }, "nothing");
}

createRoot(document.getElementById("app")).render(h(StrictMode, null, h(App)));
