import { EventSource } from "eventsource";
import { follow } from "./report.js";

follow(new EventSource(process.argv[2]));
