// The parser against the HTML standard's rules, with every stream cut at every byte.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser } from "../dist/parser.js";

const utf8 = new TextEncoder();

/** What is heard of these chunks. */
function heard(...chunks) {
  const said = [];
  const parser = new Parser({
    message: ({ id, event, data }) => said.push(`${id}|${event}|${data}`),
    place: (id) => said.push(`place ${id}`),
    retry: (milliseconds) => said.push(`retry ${milliseconds}`),
  });
  let text = "";
  for (const chunk of chunks) text += parser.push(chunk);
  return { said, text };
}

/** The same, however the bytes are cut: in two at each place, and into single ones. */
function parsed(stream) {
  const bytes = typeof stream === "string" ? utf8.encode(stream) : stream;
  const whole = heard(bytes);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(heard(bytes.subarray(0, at), bytes.subarray(at)), whole, `cut at ${at} of ${JSON.stringify(stream)}`);
  }
  const single = [...bytes].flatMap((byte) => [Uint8Array.of(byte), new Uint8Array()]);
  assert.deepEqual(heard(...single), whole);
  return whole.said;
}

test("what the standard says of streams", () => {
  const cases = [
    ["data: hello\n\n", ["|message|hello"]],
    ["event: chat\nid: 1\ndata: a\n\n", ["1|chat|a"]],
    ["data: one\ndata:two\ndata:  three\n\n", ["|message|one\ntwo\n three"]],
    ["data\n\n", ["|message|"]],
    ["data:\n\n", ["|message|"]],
    ["data\ndata\n\n", ["|message|\n"]],
    // Without data there is no event, but its id counts; the name does not pass to the next.
    ["event: lost\nid: 7\n\ndata: x\n\n", ["place 7", "7|message|x"]],
    ["id: 1\ndata: a\n\ndata: b\n\n", ["1|message|a", "1|message|b"]],
    ["id: 1\ndata: a\n\nid\ndata: b\n\n", ["1|message|a", "|message|b"]],
    ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", ["1|message|a", "1|message|b"]],
    // An end without an empty line is no block.
    ["data: a\n\ndata: b\n", ["|message|a"]],
    ["data: a\n\nid: 9\ndata: b", ["|message|a"]],
    [": a comment\n:\ndata: a\n:\n\n", ["|message|a"]],
    ["retry: 1500\n\n", ["retry 1500"]],
    ["retry: 1.5\nretry: -1\nretry: 1s\nretry:\nretry: ١\n\n", []],
    ["data:colon:more\nnonsense: 1\nDATA: 2\n data: 3\n\n", ["|message|colon:more"]],
    ["data: \u2028 is no line end\n\n", ["|message|\u2028 is no line end"]],
    ["\ufeffdata: a\n\n\ufeffdata: b\n\n", ["|message|a"]],
    ["\ufeff\ufeffdata: a\n\n", []],
    ["data: 안녕 🌊\n\n", ["|message|안녕 🌊"]],
    ["\n\n\n", []],
  ];
  for (const [stream, said] of cases) {
    for (const end of ["\n", "\r", "\r\n"]) assert.deepEqual(parsed(stream.replaceAll("\n", end)), said, JSON.stringify([stream, end]));
  }
});

test("line ends of all kinds in one stream", () => {
  assert.deepEqual(parsed("data: a\r\rdata: b\r\n\r\ndata: c\n\ndata: d\r\n\rdata: e\n\r\n"), [
    "|message|a", "|message|b", "|message|c", "|message|d", "|message|e",
  ]);
});

test("bytes that are no UTF-8 become U+FFFD and break nothing else", () => {
  const bytes = Uint8Array.of(...utf8.encode("data: a"), 0xff, 0xe2, 0x82, ...utf8.encode("\n\ndata: b\n\n"));
  assert.deepEqual(parsed(bytes), ["|message|a\ufffd\ufffd", "|message|b"]);
});

test("whatever comes, the cuts make no difference", () => {
  // A generator with a seed: what failed once fails again.
  let state = 42;
  const random = (below) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const pieces = ["data", "id", "event", "retry", ":", " ", "\n", "\r", "\r\n", "\n\n", "x", "1", "\0", "é", "🌊", "\ufeff", ""];
  for (let n = 0; n < 300; n++) {
    parsed(Array.from({ length: 1 + random(40) }, () => pieces[random(pieces.length)]).join(""));
  }
});
