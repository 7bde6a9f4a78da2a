// In a browser, for which it is made. It reconnects with the last id by itself.
import { fetchEventSource } from "@microsoft/fetch-event-source";

window.lines = [];

window.follow = (url) =>
  fetchEventSource(url, {
    openWhenHidden: true,
    onmessage({ event, data, id }) {
      if (event === "tidegate:ready") window.lines.push({ open: true });
      if (event === "tidegate:reset") window.lines.push({ reset: data });
      if (event === "chat") window.lines.push({ id, data: JSON.parse(data) });
    },
    // Without this it takes the end of a stream for what was wanted.
    onclose() {
      throw new Error("the gateway closed it: again");
    },
  });
