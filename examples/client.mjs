// Speaks a file into a session and keeps what comes back. Node 22 (or 20 with --experimental-websocket):
//   GLOTGATE_API_KEY=sk_live_… node client.mjs http://127.0.0.1:8080 in.ulaw out.ulaw
// Both files are raw G.711 mu-law, 8000 Hz, one channel (sox: -t ul -r 8000 -c 1).
import { readFile, writeFile } from "node:fs/promises";

const [base, source, target] = process.argv.slice(2);
const FRAME = 160; // octets: 20 ms

async function api(path, body) {
  const response = await fetch(base + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${process.env.GLOTGATE_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status} ${answer.error.code}: ${answer.error.message}`);
  return answer;
}

async function speak(stream, audio) {
  // 20 ms frames in real time, then silence, so that the end of the speech is noticed.
  const whole = Buffer.concat([audio, Buffer.alloc(FRAME - (audio.length % FRAME) + FRAME * 50, 0xff)]);
  const start = performance.now();
  for (let sequence = 0; sequence * FRAME < whole.length; sequence++) {
    const frame = whole.subarray(sequence * FRAME, (sequence + 1) * FRAME);
    stream.send(JSON.stringify({
      type: "audio.input",
      sequence,
      timestamp_ms: sequence * 20,
      speaker: "customer",
      audio: { encoding: "mulaw", sample_rate_hz: 8000, payload: frame.toString("base64") },
    }));
    await new Promise((wake) => setTimeout(wake, start + sequence * 20 - performance.now()));
  }
  stream.send(JSON.stringify({ type: "session.end" }));
}

const session = await api("/v1/sessions", {
  mode: "bidirectional_translation", source_language: "en", target_language: "es",
});
console.log("session", session.id);
const heard = [];
await new Promise((closed, failed) => {
  const stream = new WebSocket(`${session.stream.url}?token=${session.stream.token}`);
  stream.onerror = () => failed(new Error("the stream failed"));
  stream.onclose = closed;
  stream.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "session.ready") await speak(stream, await readFile(source));
    else if (message.type === "audio.output") heard.push(Buffer.from(message.audio.payload, "base64"));
    else if (/^transcript\.|^session\.error/.test(message.type)) {
      console.log(message.type, message.text ?? message.message);
    }
  };
});
await writeFile(target, Buffer.concat(heard));
const summary = await api(`/v1/sessions/${session.id}/end`, {});
const seconds = Buffer.concat(heard).length / 8000;
console.log(`${seconds.toFixed(1)} s came back in a session of ${summary.duration_seconds.toFixed(1)} s`);
