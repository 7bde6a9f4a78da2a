// Node's own EventSource; it reconnects and resumes by itself.
import { follow } from "./report.js";

// It keeps no process alive while it waits to reconnect.
setInterval(() => {}, 60_000);
follow(new EventSource(process.argv[2]));
